"""CTranslate2's config.json: what the decoder suppresses, the languages and the alignment heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_prepare.safetensors_file import FETCH_AGAIN
from fleet_prepare.whisper.alignment import alignment_heads
from fleet_prepare.whisper.shape import Shape
from fleet_prepare.whisper.tokens import END, WhisperTokens
from fleet_weights.errors import WeightsError

SPACE = "Ġ"
"""A space in byte-level BPE."""


def generation(
    generation: Mapping[str, Any], config: Mapping[str, Any], tokens: WhisperTokens, shape: Shape,
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """The keys of CTranslate2's config.json; `generation` is generation_config.json or empty.

    A list that neither file has is taken from the tokenizer. One that is null or empty stays
    empty: some fine-tunes are trained to suppress nothing.
    """

    def ids(name: str, default: list[int]) -> list[int]:
        source = generation if name in generation else config
        return _ids(source.get(name, default), name, shape, folder)

    blank = [tokens.ids[name] for name in (SPACE, END) if name in tokens.ids]
    named = generation.get("lang_to_id")
    named = list(named.values()) if isinstance(named, dict) else named
    return {
        "suppress_ids": ids("suppress_tokens", []),
        "suppress_ids_begin": ids("begin_suppress_tokens", blank),
        "lang_ids": sorted(_ids(named, "lang_to_id", shape, folder)) or tokens.languages,
        "alignment_heads": alignment_heads(generation.get("alignment_heads"), shape),
    }


def _ids(found: Any, name: str, shape: Shape, folder: Path) -> list[int]:
    """Ids beyond the vocabulary are left out: they belong to another model and match no token."""
    numbers = [] if found is None else found
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise WeightsError(
            f"{folder}: {name} of the generation config must be a list of token ids, not "
            f"{str(found)[:80]}.",
            FETCH_AGAIN,
        )
    return [number for number in numbers if 0 <= number < shape.vocab_size]
