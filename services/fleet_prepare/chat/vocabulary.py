"""Reads the bytes of each token id from a repository's tokenizer.json.

Format: that of the tokenizers package (huggingface.co/docs/tokenizers). Byte-level vocabularies
(GPT-2, Llama 3, Qwen) write bytes as printable characters; SentencePiece ones (Llama 2, Mistral)
write a space as U+2581 and lone bytes as `<0xNN>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_weights.errors import WeightsError

MAX_BYTES = 64 << 20
"""Of a tokenizer.json; the largest vocabularies take about 20 MB."""
MAX_ID = 1 << 22
SPACE = "\u2581"
LONE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
NO_TOKENIZER = (
    "transformers writes one with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`."
)


@dataclass(frozen=True, slots=True)
class TokenizerVocabulary:
    """Bytes by id, ids that are left out of text, and ids by added token."""

    pieces: Mapping[int, bytes]
    special: frozenset[int]
    added: Mapping[str, int]
    byte_level: bool


def read(path: Path) -> TokenizerVocabulary:
    """The vocabulary in tokenizer.json at `path`. Raises WeightsError that names the file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return parse(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent} holds no tokenizer.json.", NO_TOKENIZER) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read: {error!r}.") from error


def parse(content: Mapping[str, Any]) -> TokenizerVocabulary:
    """Raises ValueError, KeyError or TypeError if it is not a tokenizer of a known type."""
    byte_level = "ByteLevel" in set(_kinds(content.get("decoder")))
    pieces = {index: _piece(token, byte_level) for token, index in _model(content["model"])}
    added, special = {}, set()
    for entry in content.get("added_tokens") or ():
        token, index = str(entry["content"]), int(entry["id"])
        pieces[index] = token.encode()
        added[token] = index
        if entry.get("special"):
            special.add(index)
    if not pieces or min(pieces) < 0 or max(pieces) > MAX_ID:
        raise ValueError("token ids are out of range")
    return TokenizerVocabulary(pieces, frozenset(special), added, byte_level)


def _model(model: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    vocab = model["vocab"]
    if isinstance(vocab, Mapping):
        return ((str(token), int(index)) for token, index in vocab.items())
    return ((str(entry[0]), index) for index, entry in enumerate(vocab))


def _kinds(decoder: Any) -> Iterator[str]:
    """Types of a decoder, those within a sequence included."""
    if isinstance(decoder, Mapping):
        yield str(decoder.get("type"))
        for inner in decoder.get("decoders") or ():
            yield from _kinds(inner)


def _piece(token: str, byte_level: bool) -> bytes:
    if byte_level:
        try:
            return bytes(BYTES[character] for character in token)
        except KeyError:
            return token.encode()
    lone = LONE_BYTE.fullmatch(token)
    return bytes([int(lone[1], 16)]) if lone else token.replace(SPACE, " ").encode()


def _printable() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, other bytes for U+0100 onwards."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }


BYTES = _printable()
