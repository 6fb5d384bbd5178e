"""The names that a pickle of weights may refer to, and the dtypes among them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_PLAIN = {
    *("collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.bytearray"),
    *("builtins.set", "builtins.complex", "__builtin__.set", "__builtin__.bytearray"),
    *("__builtin__.complex", "torch.Size", "torch.device", "torch.Tensor"),
    *("torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
    *("torch._tensor._rebuild_from_type_v2", "torch.storage.UntypedStorage"),
    *("torch.storage.TypedStorage", "torch.UntypedStorage"),
}
_CLASSES = ("Storage", "Tensor")
_PLAIN_STARTS = ("torch._utils._rebuild_",)
_DTYPE = re.compile(r"bool|(float|bfloat|uint|int|complex|quint|qint)\d\w*")
_QUANTISATION = ("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine")
# Of torch.float32 and torch.FloatStorage: the safetensors format's codes.
DTYPES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"},
    **{"uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL"},
    **{"complex64": "C64", "complex128": "C128", "float8_e4m3fn": "F8_E4M3"},
    **{"float8_e5m2": "F8_E5M2"},
}
STORAGES = {
    **{"Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64"},
    **{"Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL"},
    **{"ComplexFloat": "C64", "ComplexDouble": "C128", "Untyped": "U8"},
}
ITEM_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "C64": 8, "C128": 16, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2},
}


class PickleError(ValueError):
    """A pickle that holds other things than weights, or is broken."""


class Symbol(NamedTuple):
    """A name that the pickle refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def plain_symbol(module: Any, name: Any) -> Symbol:
    """The name, if it is one of those with which ``weights_only`` is content.

    Raises
    ------
    PickleError
        For any other.
    """
    symbol = Symbol(str(module), str(name))
    text = str(symbol)
    plain = (
        text in _PLAIN
        or text.startswith(_PLAIN_STARTS)
        or (
            symbol.module in ("torch", "torch.cuda") and symbol.name.endswith(("Storage", "Tensor"))
        )
        or (symbol.module == "torch" and _DTYPE.fullmatch(symbol.name) is not None)
        or (symbol.module == "torch" and symbol.name.startswith(_QUANTISATION))
    )
    if not plain:
        raise PickleError(
            f"its pickle names {text[:100]}, which can run code or is no weight; save the state"
            " dict alone, with torch.save(model.state_dict(), ...)"
        )
    return symbol
