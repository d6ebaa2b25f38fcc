"""Guided generation in the torch engine: the compiler of a repository's vocabulary."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fleet_prepare.chat import vocabulary
from fleet_server.engines.guided.compiler import GrammarCompiler, GuidedVocabulary
from fleet_server.protocols import Vocabulary
from fleet_weights.errors import WeightsError

FILE = "tokenizer.json"


def compiler(
    folder: Path, tokenizer: Vocabulary | None, size: int, stop_ids: Collection[int]
) -> GrammarCompiler | None:
    """The compiler of schemas for the first `size` tokens in `folder`; None for a tokenizer whose
    tokens cannot be read."""
    if tokenizer is None:
        return None
    try:
        words = vocabulary.read(folder / FILE)
    except WeightsError:
        return None
    stops = sorted(index for index in stop_ids if 0 <= index < size)
    if not stops:
        return None

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, False)

    pieces = [words.pieces.get(index, b"") for index in range(size)]
    special = {index for index in words.special if index < size}
    return GrammarCompiler(GuidedVocabulary(pieces, special, stops, encode))
