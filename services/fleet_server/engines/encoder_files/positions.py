"""The offset and the number of rows of an encoder's position table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEHIND_PADDING = frozenset({"roberta", "xlm-roberta", "camembert"})
"""`model_type`s whose position ids begin after the padding id, as in transformers' RoBERTa."""


def position_offset(config: Mapping[str, Any]) -> int:
    """Row of the position table for the first token."""
    if config.get("model_type") not in BEHIND_PADDING:
        return 0
    pad_id = config.get("pad_token_id")
    return (1 if pad_id is None else int(pad_id)) + 1


def position_rows(config: Mapping[str, Any]) -> int | None:
    """Maximum number of tokens that have a position, or None if the config does not give it.

    `n_positions` is GPT-2's name for the field, which nomic_bert's first release uses.
    """
    rows = config.get("max_position_embeddings", config.get("n_positions"))
    return rows - position_offset(config) if isinstance(rows, int) else None
