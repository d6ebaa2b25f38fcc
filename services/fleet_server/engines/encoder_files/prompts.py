"""The prompts a repository recommends, from config_sentence_transformers.json.

Format: sbert.net/docs/package_reference/sentence_transformer ("prompts", "default_prompt_name").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError

FILE = "config_sentence_transformers.json"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Texts by name, put before an input; `default` names the one for inputs that ask for none."""

    texts: dict[str, str] = field(default_factory=dict)
    default: str | None = None


def read(folder: Path) -> Prompts:
    """The prompts of a model folder, none where it has no such file. Raises LoadError."""
    config = read_object(folder / FILE)
    texts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise LoadError(f"{FILE}: prompts must be an object of texts.")
    if default is not None and default not in texts:
        raise LoadError(f"{FILE}: default_prompt_name {default!r} is none of its prompts.")
    return Prompts(texts, default)
