"""Checks the files of a converted Whisper model before CTranslate2 loads them."""

from __future__ import annotations

import json
from pathlib import Path

from fleet_server.load_error import LoadError

HINT = (
    "Fetch the model again with `modelfleet pull`, which converts Whisper repositories that hold "
    "safetensors."
)
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")


def check(folder: Path) -> None:
    """Raise LoadError naming a file that is missing or broken.

    tokenizer.json is required because faster-whisper would download a missing one.
    """
    for name in ("model.bin", "config.json", "tokenizer.json"):
        path = folder / name
        if not path.is_file():
            raise LoadError(f"{path} is missing.", HINT)
        if path.stat().st_size == 0:
            raise LoadError(f"{path} is empty.", HINT)
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise LoadError(f"{folder} holds no vocabulary ({' or '.join(VOCABULARIES)}).", HINT)
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        _check_json(folder / name)


def _check_json(path: Path) -> None:
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoadError(f"{path} is not valid JSON: {error}.", HINT) from error
    if not isinstance(content, dict):
        raise LoadError(f"{path} is not a JSON object.", HINT)
