"""A model and its tokenizer out of a folder, without the network and without foreign code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmflow.errors import MissingExtraError, NmflowError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# What from_pretrained calls the dtype, since this version.
_NAMED_DTYPE = (4, 56)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was read from a folder.

    Attributes
    ----------
    model : PreTrainedModel
        In evaluation mode, on the CPU.
    missing : frozenset of str
        Weights that the folder lacks: the model has them at random.
    unused : frozenset of str
        Tensors of the folder that the model does not take.
    """

    model: Any
    missing: frozenset[str]
    unused: frozenset[str]


def import_transformers() -> Any:
    """The package.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("nmflow convert", "transformers") from None
    return transformers


def check_folder(folder: Path) -> None:
    """Refuse what is no folder of a model, before anything heavy is loaded.

    Raises
    ------
    NmflowError
    """
    if not folder.is_dir():
        raise NmflowError(
            f"{folder} is no folder: give that of a model, with {CONFIG}, {WEIGHTS[0]} and a"
            " tokenizer; nothing is downloaded"
        )
    if not (folder / CONFIG).is_file():
        raise NmflowError(f"{folder} has no {CONFIG}: it is no folder of a Hugging Face model")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise NmflowError(
            f"{folder} has no {WEIGHTS[0]}: weights in other formats are not read; load the model"
            " and save it with save_pretrained first"
        )


def load_model(folder: Path, dtype: str | None = None) -> Loaded:
    """Read a model, by the class that its config names.

    Parameters
    ----------
    folder : Path
    dtype : str, optional
        Of its weights, such as ``"float32"``; by default what its config says.

    Raises
    ------
    NmflowError
        If it can't be read, or takes code of its own to run.
    MissingExtraError
        If transformers is not installed.
    """
    transformers = import_transformers()
    with silent(), refusing(f"cannot read the model in {folder}"):
        config = transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
        model, info = _class_of(config).from_pretrained(
            folder,
            **_LOCAL,
            **{_dtype_option(transformers): dtype or "auto"},
            use_safetensors=True,
            output_loading_info=True,
        )
    unused = frozenset(info["unexpected_keys"])
    return Loaded(model.eval(), frozenset(info["missing_keys"]), unused)


def load_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a model.

    Raises
    ------
    NmflowError
        If there is none, or it takes code of its own to run.
    """
    transformers = import_transformers()
    with silent(), refusing(f"cannot read a tokenizer in {folder}"):
        return transformers.AutoTokenizer.from_pretrained(folder, **_LOCAL)


_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def _class_of(config: Any) -> Any:
    """The class of transformers that a config names, else the one for the kind of model."""
    transformers = import_transformers()
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    return transformers.AutoModel


def _dtype_option(transformers: Any) -> str:
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if version >= _NAMED_DTYPE else "torch_dtype"


@contextmanager
def silent() -> Iterator[None]:
    """Let transformers say nothing and draw no bars for a while."""
    logging = import_transformers().utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever transformers raises into an error of one line."""
    try:
        yield
    except (NmflowError, MemoryError):
        raise
    except Exception as error:
        raise NmflowError(f"{what}: {type(error).__name__}: {error}") from error
