"""Determines the maximum input length of an encoder."""

from __future__ import annotations

from pathlib import Path

from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError

UNLIMITED = 1_000_000
"""transformers writes 1e30 as `model_max_length` for a tokenizer without a limit."""


def max_tokens(
    configured: int | None, table: int | None, recipe: int | None, tokenizer_folder: Path
) -> int:
    """The spec's `context_length`, else the lowest limit in the repository's files.

    `table` is the number of positions of the model, `recipe` sentence-transformers'
    max_seq_length. Raises LoadError if the spec exceeds the table, or if there is no limit at all.
    """
    if configured is not None:
        if table is not None and configured > table:
            raise LoadError(
                f"contextLength is {configured}; this model has positions for {table} tokens."
            )
        return configured
    own = read_object(tokenizer_folder / "tokenizer_config.json").get("model_max_length")
    if not isinstance(own, int) or own >= UNLIMITED:
        own = None
    known = [length for length in (table, recipe, own) if length is not None]
    if not known:
        raise LoadError("The model's files give no maximum length.", "Set `contextLength`.")
    return min(known)
