"""Selects the files of a model folder that the encoder engine loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_prepare.encoder import SHIPPED, graph_refusal
from fleet_server.engines.encoder_files import recipe
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.encoder_files.recipe import Recipe
from fleet_server.load_error import LoadError


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """The files to load: `safetensors` for a graph that is built, else the `shipped` graph."""

    config: dict[str, Any]
    recipe: Recipe
    tokenizer: Path
    safetensors: tuple[Path, ...]
    shipped: Path | None


def find(folder: Path) -> GraphFiles:
    """The files to load from `folder`. Raises LoadError for missing or unsupported files."""
    if not folder.is_dir():
        raise LoadError(f"{folder} is not a folder.", "Fetch the model with `modelfleet pull`.")
    how = recipe.read(folder)
    config = read_object(how.transformer / "config.json") or read_object(folder / "config.json")
    if not config:
        raise LoadError(f"{folder} has no config.json.", "Fetch the model again.")
    tokenizer = _tokenizer(folder, how.transformer)
    safetensors = tuple(sorted(how.transformer.glob("model*.safetensors")))
    reason = graph_refusal(config) if safetensors else "it has no model.safetensors"
    if reason is None:
        return GraphFiles(config, how, tokenizer, safetensors, None)
    for name in SHIPPED:
        if (folder / name).is_file():
            return GraphFiles(config, how, tokenizer, (), folder / name)
    raise LoadError(
        f"The openvino engine cannot serve {folder.name}: {reason}, and there is no "
        f"{' or '.join(SHIPPED)}.",
        "The torch engine serves other encoders (`make up TORCH=1`).",
    )


def _tokenizer(folder: Path, transformer: Path) -> Path:
    for home in (transformer, folder):
        if (home / "tokenizer.json").is_file():
            return home / "tokenizer.json"
    raise LoadError(
        f"{folder.name} has no tokenizer.json.",
        "transformers writes one with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`.",
    )
