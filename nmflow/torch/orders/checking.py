"""Whether a model computes in another order what it computed before."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.calibration import call_with, tensors_of
from nmflow.torch.conversion.calibrating.recorder import Quiet

# Relative to the largest entry of each output.
TOLERANCE = 1e-5
_TOKENS, _PIXELS = 12, 64


def outputs_of(model: Any, inputs: Any) -> Any:
    """What a model makes of its inputs, in evaluation mode.

    In float32 if it is in less, so that rounding does not hide a difference.
    """
    narrow = any(each.dtype in (torch.float16, torch.bfloat16) for each in model.parameters())
    subject = copy.deepcopy(model).float() if narrow else model
    state = torch.random.get_rng_state()
    try:
        with Quiet(subject):
            return call_with(subject, _widened(inputs) if narrow else inputs)
    except NmflowError:
        raise
    except Exception as error:
        raise NmflowError(
            f"the model refuses the inputs it is to be checked with, {type(error).__name__}:"
            f" {error}; give inputs that its forward takes"
        ) from error
    finally:
        torch.random.set_rng_state(state)


def difference(before: Any, after: Any, ways_back: Sequence[Any] = ()) -> float:
    """The largest difference of outputs, each relative to its largest entry.

    ``ways_back`` are orders of the last axis of which an output may have one.
    """
    pairs = list(zip(tensors_of(before), tensors_of(after), strict=True))
    if not pairs:
        raise NmflowError(f"the model puts out a {type(before).__name__}, and no tensor to check")
    return max(_least(first.detach(), second.detach(), ways_back) for first, second in pairs)


def _least(before: Any, after: Any, ways_back: Sequence[Any]) -> float:
    """The difference of an output as it is, or in the one of these orders in which it is least."""
    found = _relative(before, after)
    for order in ways_back:
        if after.ndim and after.shape[-1] == len(order):
            index = torch.as_tensor(order, device=after.device)
            found = min(found, _relative(before, after.index_select(-1, index)))
    return found


def _relative(before: Any, after: Any) -> float:
    if before.numel() == 0:
        return 0.0
    first, second = before.double(), after.double()
    scale = float(first.abs().max()) or 1.0
    return float((first - second).abs().max()) / scale


def puts_out_stream(outputs: Any) -> bool:
    """Whether a transformer's outputs have the residual stream among them."""
    keys = outputs.keys() if isinstance(outputs, Mapping) else ()
    return not keys or any("hidden_state" in key for key in keys)


def positional(model: Any, inputs: Any) -> tuple[Any, ...]:
    """Inputs as the arguments of a model's forward, one after the other."""
    if isinstance(inputs, Mapping):
        return inspect.signature(model.forward).bind(**inputs).args
    return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def some_inputs(model: Any) -> Any:
    """Inputs for a model that says what it takes.

    Raises
    ------
    NmflowError
        If it doesn't.
    """
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    config: Any = getattr(model, "config", None)
    if hasattr(config, "image_size") and hasattr(config, "num_channels"):
        shape = (2, config.num_channels, config.image_size, config.image_size)
        return {"pixel_values": torch.randn(shape, generator=generator).to(parameter)}
    if hasattr(config, "vocab_size"):
        ids = torch.randint(config.vocab_size, (2, _TOKENS), generator=generator)
        ids = ids.to(parameter.device)
        both = {"input_ids": ids, "decoder_input_ids": ids}
        return both if getattr(config, "is_encoder_decoder", False) else {"input_ids": ids}
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            return torch.randn(4, module.in_features, generator=generator).to(parameter)
        if isinstance(module, torch.nn.Conv2d):
            shape = (2, module.in_channels, _PIXELS, _PIXELS)
            return torch.randn(shape, generator=generator).to(parameter)
    raise NmflowError(
        f"what a {type(model).__name__} takes can't be told: give inputs, a batch that its forward"
        " takes"
    )


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _widened(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_widened(each) for each in value)
    return value
