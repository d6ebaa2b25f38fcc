"""Which files of a model folder the encoder engine loads; asked by the engine chooser too.

`supports` is cheap and imports no OpenVINO: config.json and the list of files decide.
"""

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
class ModelFiles:
    """What is loaded: `safetensors` where a graph is built, else the `shipped` graph."""

    config: dict[str, Any]
    recipe: Recipe
    tokenizer: Path
    safetensors: tuple[Path, ...]
    shipped: Path | None


def supports(folder: Path) -> str | None:
    """Why this engine can serve the folder, or None if it cannot."""
    try:
        found = find(folder)
    except LoadError:
        return None
    if found.shipped is not None:
        return f"the repo ships {found.shipped.relative_to(folder)}"
    return f"its {found.config['model_type']} graph is built from the safetensors"


def find(folder: Path) -> ModelFiles:
    """What to load from `folder`. Raises LoadError that says what is missing or not known."""
    if not folder.is_dir():
        raise LoadError(f"{folder} is no folder.", "Fetch the model with `modelfleet pull`.")
    how = recipe.read(folder)
    config = read_object(how.transformer / "config.json") or read_object(folder / "config.json")
    if not config:
        raise LoadError(f"{folder} holds no config.json.", "Fetch the model again.")
    tokenizer = _tokenizer(folder, how.transformer)
    safetensors = tuple(sorted(how.transformer.glob("model*.safetensors")))
    reason = graph_refusal(config) if safetensors else "it holds no model.safetensors"
    if reason is None:
        return ModelFiles(config, how, tokenizer, safetensors, None)
    for name in SHIPPED:
        if (folder / name).is_file():
            return ModelFiles(config, how, tokenizer, (), folder / name)
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
        f"{folder.name} holds no tokenizer.json.",
        "transformers writes one with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`.",
    )
