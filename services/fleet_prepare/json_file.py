"""Reads and writes JSON objects of a repository, of bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fleet_prepare.safetensors_file import FETCH_AGAIN
from fleet_weights.errors import WeightsError

MAX_BYTES = 64 << 20
"""Of a file read here; the largest tokenizer.json files have about 20 MB."""


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None if there is no such file. Raises WeightsError."""
    content = read_text(path)
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not valid JSON: {error}.", FETCH_AGAIN) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} is not a JSON object.", FETCH_AGAIN)
    return found


def read_text(path: Path) -> str | None:
    """The text of `path`, or None if there is no such file. Raises WeightsError."""
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path} is larger than {MAX_BYTES} bytes.", FETCH_AGAIN)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", FETCH_AGAIN) from error


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
