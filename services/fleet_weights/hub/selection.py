"""Chooses the files of a repository to download: one set of weights, configuration, tokenizer.

Repositories may have the same weights in several formats; the order of preference is safetensors,
CTranslate2, OpenVINO IR, ONNX, GGUF.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import PurePosixPath

from fleet_weights import gguf_names
from fleet_weights.allowed import PICKLE_SUFFIXES, is_allowed
from fleet_weights.errors import WeightsError

WEIGHT_SUFFIXES = frozenset({".safetensors", ".gguf", ".onnx", ".onnx_data", ".bin", ".xml"})
SKIPPED_FOLDERS = frozenset({"original", "onnx", "openvino", "coreml", "runs", "imgs", "assets"})
TOKENIZERS = frozenset(
    {"tokenizer.json", "sentencepiece.bpe.model", "tokenizer.model", "vocab.txt", "vocab.json",
     "merges.txt"}
)  # fmt: skip
PICKLE_HINT = (
    "Its weights are pickles, which may run code when they are loaded. Name a revision with "
    "safetensors (the hub's conversion bot offers one as refs/pr/<number>), or convert them in a "
    "sandbox with `modelfleet convert-pickle MODEL`; see docs/adding-a-model.md."
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_VARIANT = re.compile(r"\.(fp16|fp32|bf16)[.-]|^consolidated")


class WeightsFormat(StrEnum):
    """A format of weights."""

    SAFETENSORS = "safetensors"
    CTRANSLATE2 = "ctranslate2"
    OPENVINO = "openvino"
    ONNX = "onnx"
    GGUF = "gguf"


def choose(paths: Collection[str], where: str, kind: WeightsFormat | None = None) -> list[str]:
    """Paths to download, in the order of `paths`: weights of `kind`, by default the first found.

    Raises WeightsError without any, and for several GGUF files.
    """
    allowed = [path for path in paths if is_allowed(path, paths)]
    weights = _weights(allowed, kind)
    if not weights:
        raise WeightsError(f"{where} holds no weights that Modelfleet loads.", _why(paths))
    ggufs = gguf_names.models(weights)
    if len(ggufs) > 1:
        raise WeightsError(
            f"{where} holds {len(ggufs)} GGUF files.",
            f"Name one: {where}@<revision>/{ggufs[0]}, for example.",
        )
    taken, present = set(weights), set(allowed)
    return [path for path in allowed if path in taken or _describes(path, weights, present)]


def _weights(paths: list[str], kind: WeightsFormat | None) -> list[str]:
    for choose_kind in KINDS.values() if kind is None else (KINDS[kind],):
        if found := choose_kind(paths):
            return found
    return []


def _safetensors(paths: list[str]) -> list[str]:
    """The file or shards in the root, and the files of sentence-transformers' modules."""
    found = [
        path
        for path in paths
        if path.endswith(".safetensors")
        and _folder(path) not in SKIPPED_FOLDERS
        and not _VARIANT.search(PurePosixPath(path).name)
    ]
    whole = {path for path in found if path == "model.safetensors"}
    root = [path for path in found if "/" not in path]
    if not root:
        return []
    # A repository with both a whole file and shards has the same weights twice.
    return [path for path in found if not (whole and "/" not in path and _SHARD.search(path))]


def _ctranslate2(paths: list[str]) -> list[str]:
    return [path for path in paths if path == "model.bin"]


def _openvino(paths: list[str]) -> list[str]:
    for folder in ("", "openvino/"):
        graph = f"{folder}openvino_model.xml"
        if graph in paths:
            others = [
                path
                for path in paths
                if re.fullmatch(rf"{folder}openvino_(de)?(tokenizer)\.(xml|bin)", path)
            ]
            return [graph, f"{folder}openvino_model.bin", *others]
    return []


def _onnx(paths: list[str]) -> list[str]:
    for folder in ("onnx/", ""):
        graph = f"{folder}model.onnx"
        if graph in paths:
            return [path for path in paths if path in (graph, f"{graph}_data")]
    return []


def _gguf(paths: list[str]) -> list[str]:
    """All models, and one image projector."""
    whole = {part for name in gguf_names.models(paths) for part in gguf_names.parts(name)}
    return [path for path in paths if path in whole or path == gguf_names.projector(paths)]


KINDS: Mapping[WeightsFormat, Callable[[list[str]], list[str]]] = {
    WeightsFormat.SAFETENSORS: _safetensors,
    WeightsFormat.CTRANSLATE2: _ctranslate2,
    WeightsFormat.OPENVINO: _openvino,
    WeightsFormat.ONNX: _onnx,
    WeightsFormat.GGUF: _gguf,
}
"""The kinds in order of preference."""


def _describes(path: str, weights: list[str], present: Collection[str]) -> bool:
    """Configuration and tokenizer files of the root, of modules and next to the weights; a
    tokenizer next to the weights only where the root has none."""
    pure = PurePosixPath(path)
    if pure.suffix in WEIGHT_SUFFIXES:
        return False
    folder = _folder(path)
    if folder not in SKIPPED_FOLDERS:
        return True
    if pure.name in TOKENIZERS and pure.name in present:
        return False
    return any(_folder(weight) == folder for weight in weights)


def _folder(path: str) -> str:
    return path.partition("/")[0] if "/" in path else ""


def _why(paths: Collection[str]) -> str:
    pickles = [path for path in paths if PurePosixPath(path).suffix in PICKLE_SUFFIXES]
    if not pickles:
        return "Supported are safetensors, GGUF, ONNX, OpenVINO IR and CTranslate2."
    shown = next((path for path in pickles if "model" in path), pickles[0])
    return f"It holds pickles only ({shown}). {PICKLE_HINT}"
