"""Reads and copies a chat repository's small files: configuration, tokenizer, chat template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_prepare.chat.vocabulary import TokenizerVocabulary
from fleet_prepare.json_file import read_object
from fleet_weights.errors import WeightsError

GENERATION = "generation_config.json"
COPIED = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def config(folder: Path) -> dict[str, Any]:
    """config.json. Raises WeightsError."""
    found = read_object(folder / "config.json")
    if found is None:
        raise WeightsError(f"{folder} holds no config.json.", "Fetch the model again.")
    return found


def generation(
    folder: Path, model: Mapping[str, Any], vocabulary: TokenizerVocabulary
) -> dict[str, Any]:
    """generation_config.json with `eos_token_id` as a list that is never empty.

    The ids come from that file, else from config.json, and from the tokenizer's `eos_token`.
    Raises WeightsError if no file names one.
    """
    found = read_object(folder / GENERATION) or {}
    ends = _ids(found.get("eos_token_id")) or _ids(model.get("eos_token_id"))
    named = (read_object(folder / "tokenizer_config.json") or {}).get("eos_token")
    token = named.get("content") if isinstance(named, Mapping) else named
    end = vocabulary.added.get(str(token))
    if end is not None and end not in ends:
        ends.append(end)
    if not ends:
        raise WeightsError(
            f"{folder} names no end-of-sequence token.",
            "Add `eos_token_id` to its generation_config.json.",
        )
    return {**found, "eos_token_id": ends}


def special_ids(generation: Mapping[str, Any]) -> dict[str, int]:
    """Ids of special tokens by GenAI's names, the first where there are several."""
    found = {name: _ids(generation.get(name)) for name in ("bos_token_id", "pad_token_id")}
    # The last one is the tokenizer's own, which ends a turn; others may end a document.
    return {name: ids[0] for name, ids in found.items() if ids} | {
        "eos_token_id": generation["eos_token_id"][-1]
    }


def copy(source: Path, target: Path, generation: Mapping[str, Any]) -> None:
    """Copy the files an engine reads to the folder of the graph."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    (target / GENERATION).write_text(json.dumps(generation, indent=2) + "\n")


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [index for index in values if type(index) is int and index >= 0]
