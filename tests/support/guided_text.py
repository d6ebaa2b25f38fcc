"""Texts under a grammar: whether it allows one, and random ones."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import numpy as np

from fleet_server.engines.guided.compiler import GrammarCompiler, GuidedVocabulary
from fleet_server.engines.guided.masks import Masks
from fleet_server.protocols import OutputFormat

END = 256


class Tokens:
    """A vocabulary of bytes, and of `marks`, of which those in `special` are special tokens."""

    def __init__(self, marks: Sequence[str], special: Collection[str]) -> None:
        self._texts = {END + 1 + number: mark for number, mark in enumerate(marks)}
        self._special = {mark: number for number, mark in self._texts.items() if mark in special}

    def vocabulary(self) -> GuidedVocabulary:
        bytes_ = [bytes([byte]) for byte in range(256)]
        return GuidedVocabulary(
            pieces=[*bytes_, b"<end>", *(each.encode() for each in self._texts.values())],
            special=[END, *self._texts], stop_ids=[END], encode=self.encode,
        )  # fmt: skip

    def encode(self, text: str) -> list[int]:
        """The longest special tokens, and bytes."""
        ids: list[int] = []
        while text:
            found = [mark for mark in self._special if text.startswith(mark)]
            piece = max(found, key=len, default=text[0])
            ids += [self._special[piece]] if found else list(piece.encode())
            text = text[len(piece) :]
        return ids

    def bytes_of(self, token: int) -> bytes:
        return self._texts[token].encode() if token in self._texts else bytes([token])


def allows(compiler: GrammarCompiler, tokens: Tokens, wanted: OutputFormat, text: str) -> bool:
    """Whether the text follows the format to its end."""
    masks = compiler.compile(wanted).start()
    for token in [*tokens.encode(text), END]:
        if token not in _allowed(masks, compiler):
            return False
        masks.accept([token])
    return True


def written(
    compiler: GrammarCompiler, tokens: Tokens, wanted: OutputFormat, start: str, seed: int
) -> str | None:
    """A text that begins with `start`, continued at random; None if it has not ended. Raises
    ValueError if it may not begin so."""
    masks = compiler.compile(wanted).start()
    draw = random.Random(seed)
    text = b""
    begun = tokens.encode(start)
    for _ in range(400):
        allowed = _allowed(masks, compiler)
        if begun:
            token = begun.pop(0)
            if token not in allowed:
                raise ValueError(f"{start!r} is not allowed after {text!r}")
        else:
            if END in allowed and (len(allowed) == 1 or draw.random() < 0.3):
                return text.decode(errors="replace")
            token = draw.choice([each for each in allowed if each != END])
        text += tokens.bytes_of(token)
        masks.accept([token])
    return None


def _allowed(masks: Masks, compiler: GrammarCompiler) -> list[int]:
    logits = np.zeros(len(compiler._tokens.pieces), dtype=np.float32)
    masks.apply(logits)
    assert masks.error is None, masks.error
    allowed: list[int] = np.flatnonzero(np.isfinite(logits)).tolist()
    return allowed
