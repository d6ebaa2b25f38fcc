"""Reads the JSON files of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fleet_server.load_error import LoadError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty if there is no file. Raises LoadError."""
    content = _read(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise LoadError(f"{path} must contain a JSON object.", _FETCH_AGAIN)
    return content


def read_list(path: Path) -> list[dict[str, Any]]:
    """The JSON array of objects in `path`, empty if there is no file. Raises LoadError."""
    content = _read(path)
    if content is None:
        return []
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise LoadError(f"{path} must contain a JSON array of objects.", _FETCH_AGAIN)
    return content


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read: {error}.", _FETCH_AGAIN) from error


_FETCH_AGAIN = "Fetch the model again with `modelfleet pull`."
