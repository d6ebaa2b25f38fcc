"""Reads the metadata at the start of a GGUF file.

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads it too, but maps
the whole file and belongs to the torch extra.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]

FIXED = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
STRING, ARRAY = 8, 9
MAX_TEXT = 1 << 24
MAX_PAIRS = 1 << 16
MAX_TOKENS = 1 << 21
PER_LAYER = (".attention.head_count", ".attention.head_count_kv")
"""Ends of the keys whose values are lists, one number for each layer, if layers differ."""
MAX_LAYERS = 4096
TEXTS, KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens. Writers also give special tokens, which are in brackets, the second one."""
BRACKETS = re.compile(r"<.+>|\[.+\]", re.DOTALL)


def metadata(path: Path) -> dict[str, Value] | None:
    """Scalar values, and the numbers of heads of each layer, by key, as far as the tokenizer's
    keys, or None if it is not a GGUF file.

    Writers put the tokenizer last; its long lists are not read.
    """
    try:
        with path.open("rb") as file:
            magic, _version, _tensors, pairs = struct.unpack("<4sIQQ", _exactly(file, 24))
            return _pairs(file, pairs) if magic == b"GGUF" and pairs <= MAX_PAIRS else None
    except (OSError, ValueError, struct.error):
        return None


def tokens(path: Path) -> list[str]:
    """Texts of the vocabulary's tokens, by id; empty if there are none."""
    return [str(text) for text in _lists(path).get(TEXTS, [])]


def control_tokens(path: Path) -> dict[str, int]:
    """The ids of the vocabulary's control tokens by their texts, such as `<|im_end|>`."""
    lists = _lists(path)
    texts = map(str, lists.get(TEXTS, []))
    kinds = enumerate(zip(texts, lists.get(KINDS, []), strict=False))
    return {
        text: number for number, (text, kind) in kinds
        if kind == CONTROL or (kind == USER_DEFINED and BRACKETS.fullmatch(text))
    }  # fmt: skip


def _lists(path: Path) -> dict[str, list[Scalar]]:
    try:
        with path.open("rb") as file:
            magic, _version, _tensors, pairs = struct.unpack("<4sIQQ", _exactly(file, 24))
            if magic != b"GGUF" or pairs > MAX_PAIRS:
                return {}
            return _tokenizer_lists(file, pairs)
    except (OSError, ValueError, struct.error):
        return {}


def _tokenizer_lists(file: BinaryIO, number: int) -> dict[str, list[Scalar]]:
    found: dict[str, list[Scalar]] = {}
    for _ in range(number):
        key = _text(file)
        (kind,) = struct.unpack("<I", _exactly(file, 4))
        if key in (TEXTS, KINDS) and kind == ARRAY:
            element, length = struct.unpack("<IQ", _exactly(file, 12))
            if length > MAX_TOKENS:
                raise ValueError(f"a vocabulary of {length} tokens")
            found[key] = [_scalar(file, element) for _ in range(length)]
        elif kind == ARRAY:
            _skip(file, *struct.unpack("<IQ", _exactly(file, 12)))
        else:
            _scalar(file, kind)
    return found


def _pairs(file: BinaryIO, number: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for _ in range(number):
        key = _text(file)
        if key.startswith("tokenizer."):
            break
        (kind,) = struct.unpack("<I", _exactly(file, 4))
        if kind != ARRAY:
            found[key] = _scalar(file, kind)
            continue
        element, length = struct.unpack("<IQ", _exactly(file, 12))
        if key.endswith(PER_LAYER) and element != STRING and length <= MAX_LAYERS:
            found[key] = tuple(_scalar(file, element) for _ in range(length))
        else:
            _skip(file, element, length)
    return found


def _scalar(file: BinaryIO, kind: int) -> Scalar:
    if kind == STRING:
        return _text(file)
    layout = _layout(kind)
    value: Scalar = struct.unpack(layout, _exactly(file, struct.calcsize(layout)))[0]
    return value


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", _exactly(file, 8))
    if length > MAX_TEXT:
        raise ValueError(f"a string of {length} bytes exceeds the limit of {MAX_TEXT}")
    return _exactly(file, length).decode("utf-8", "replace")


def _skip(file: BinaryIO, kind: int, length: int) -> None:
    """Skip the elements of a list."""
    if kind != STRING:
        file.seek(length * struct.calcsize(_layout(kind)), 1)
        return
    for _ in range(length):
        _text(file)


def _layout(kind: int) -> str:
    if kind not in FIXED:
        raise ValueError(f"unknown value type {kind}")
    return FIXED[kind]


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise ValueError("unexpected end of file")
    return data
