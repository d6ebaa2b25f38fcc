"""The small files of a chat repository: configuration, generation defaults, tokenizer, template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_prepare.chat.vocabulary import Vocabulary
from fleet_weights.errors import WeightsError

GENERATION = "generation_config.json"
COPIED = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
MAX_BYTES = 16 << 20
"""Of a JSON file read here."""


def config(folder: Path) -> dict[str, Any]:
    """config.json. Raises WeightsError."""
    found = _object(folder / "config.json")
    if found is None:
        raise WeightsError(f"{folder} holds no config.json.", "Fetch the model again.")
    return found


def generation(folder: Path, model: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """generation_config.json with `eos_token_id` as a list that is never empty.

    The ids come from that file, else from config.json, and from the tokenizer's `eos_token`.
    Raises WeightsError if no file names one.
    """
    found = _object(folder / GENERATION) or {}
    ends = _ids(found.get("eos_token_id")) or _ids(model.get("eos_token_id"))
    named = (_object(folder / "tokenizer_config.json") or {}).get("eos_token")
    token = named.get("content") if isinstance(named, Mapping) else named
    end = vocabulary.added.get(str(token))
    if end is not None and end not in ends:
        ends.append(end)
    if not ends:
        raise WeightsError(
            f"{folder} names no token that ends an answer.",
            "Add `eos_token_id` to its generation_config.json.",
        )
    return {**found, "eos_token_id": ends}


def facts(generation: Mapping[str, Any]) -> dict[str, int]:
    """Ids of special tokens by GenAI's names, the first where there are several."""
    found = {name: _ids(generation.get(name)) for name in ("bos_token_id", "pad_token_id")}
    # The last one is the tokenizer's own: it ends a turn where others end a document.
    return {name: ids[0] for name, ids in found.items() if ids} | {
        "eos_token_id": generation["eos_token_id"][-1]
    }


def copy(source: Path, target: Path, generation: Mapping[str, Any]) -> None:
    """Put the files an engine reads beside the graph."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    (target / GENERATION).write_text(json.dumps(generation, indent=2) + "\n")


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [index for index in values if type(index) is int and index >= 0]


def _object(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if there is no such file. Raises WeightsError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Fetch the model again.") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds no JSON object.", "Fetch the model again.")
    return found
