"""The files that may be fetched: formats of numbers and text, never code or pickles.

Safetensors, GGUF, ONNX, OpenVINO IR, CTranslate2, tokenizers and JSON.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from fleet_weights.errors import WeightsError

SUFFIXES = frozenset(
    {".safetensors", ".gguf", ".onnx", ".onnx_data", ".xml", ".json", ".txt", ".model", ".jinja",
     ".tiktoken"}
)  # fmt: skip
CTRANSLATE2 = "model.bin"
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".msgpack", ".h5"})

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


def is_allowed(path: str, siblings: Collection[str] = ()) -> bool:
    """Whether a file of this name may be fetched; `siblings` are all files of its source.

    A `.bin` is allowed with the `.xml` of an OpenVINO IR and as CTranslate2's `model.bin`.
    """
    pure = PurePosixPath(path)
    if any(part.startswith(".") for part in pure.parts):
        return False
    if pure.suffix == ".bin":
        return pure.name == CTRANSLATE2 or str(pure.with_suffix(".xml")) in siblings
    return pure.suffix in SUFFIXES


def check_name(path: str, siblings: Collection[str] = ()) -> None:
    """Raises WeightsError unless the file may be fetched."""
    if not is_allowed(path, siblings):
        raise WeightsError(
            f"{path} has a format that Modelfleet does not load.",
            "Supported are safetensors, GGUF, ONNX, OpenVINO IR and CTranslate2 files with their "
            "tokenizers, but not pickles.",
        )


def check_content(file: Path) -> None:
    """Raises WeightsError if a `.bin` is a pickle, or a zip as PyTorch writes it."""
    if file.suffix != ".bin":
        return
    with file.open("rb") as opened:
        head = opened.read(4)
    if head == _ZIP or head[:1] == _PICKLE:
        raise WeightsError(
            f"{file.name} is a pickle, which can run code when it is loaded.",
            "Use safetensors, or a model converted for CTranslate2.",
        )


def check_path(path: str, where: str) -> str:
    """A path of a listing, normalised. Raises WeightsError if it leads outside the folder."""
    pure = PurePosixPath(path)
    if (
        not path
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in path
        or "\0" in path
        or ":" in path
    ):
        raise WeightsError(f"{where} lists the path {path!r}, which leads outside.")
    return "/".join(pure.parts)
