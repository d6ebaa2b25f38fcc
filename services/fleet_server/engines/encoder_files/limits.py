"""How many tokens an encoder reads in one input; both engines ask."""

from __future__ import annotations

from pathlib import Path

from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError

UNLIMITED = 1_000_000
"""transformers writes 1e30 as `model_max_length` where a tokenizer has no limit of its own."""


def max_tokens(
    asked: int | None, table: int | None, recipe: int | None, tokenizer_folder: Path
) -> int:
    """The spec's `context_length`, else the least of what the repo's files say.

    `table` is the number of positions the model has rows for, `recipe` sentence-transformers'
    max_seq_length. Raises LoadError when the spec asks for more than the table, or nothing says.
    """
    if asked is not None:
        if table is not None and asked > table:
            raise LoadError(
                f"contextLength is {asked}; this model has positions for {table} tokens."
            )
        return asked
    own = read_object(tokenizer_folder / "tokenizer_config.json").get("model_max_length")
    if not isinstance(own, int) or own >= UNLIMITED:
        own = None
    known = [length for length in (table, recipe, own) if length is not None]
    if not known:
        raise LoadError("No file says how long an input may be.", "Set `contextLength`.")
    return min(known)
