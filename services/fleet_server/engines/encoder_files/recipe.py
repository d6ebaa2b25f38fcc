"""How a repo says its token vectors become one: the files sentence-transformers writes.

Reads modules.json, the pooling module's config.json in both spellings (`pooling_mode`, and the
older `pooling_mode_*` flags), dense modules, max_seq_length and prompts, as sentence-transformers
documents them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files import prompts
from fleet_server.engines.encoder_files.json_file import read_list, read_object
from fleet_server.engines.encoder_files.prompts import Prompts
from fleet_server.load_error import LoadError

POOLINGS: dict[str, Pooling] = {
    "cls": Pooling.CLS,
    "mean": Pooling.MEAN,
    "lasttoken": Pooling.LAST,
}
FLAGS: dict[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
LENGTH_FILES = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_camembert_config.json",
)
WITHOUT_EFFECT = frozenset({"Normalize", "Dropout"})
"""Modules that change no direction: every vector is brought to length 1 anyway."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after pooling; its tensors are `linear.weight` and, if `bias`, `linear.bias`
    in model.safetensors of `folder`."""

    folder: Path
    in_size: int
    out_size: int
    bias: bool
    tanh: bool


@dataclass(frozen=True, slots=True)
class Recipe:
    """`pooling` is None where the repo says nothing, `transformer` the folder of the encoder."""

    transformer: Path
    pooling: Pooling | None
    dense: tuple[Dense, ...]
    max_tokens: int | None
    prompts: Prompts


def read(folder: Path) -> Recipe:
    """The recipe of a model folder. Raises LoadError naming a module that is not known."""
    transformer, pooling, known = folder, None, prompts.read(folder)
    dense: list[Dense] = []
    for module in read_list(folder / "modules.json"):
        kind = str(module.get("type", "")).rpartition(".")[2]
        home = folder / str(module.get("path") or "")
        if kind == "Transformer":
            transformer = home
        elif kind == "Pooling":
            config = read_object(home / "config.json")
            pooling = _pooling(config)
            if config.get("include_prompt") is False:
                # The tokens of a prompt would have to be left out of the pooling.
                known = Prompts()
        elif kind == "Dense":
            dense.append(_dense(home, read_object(home / "config.json")))
        elif kind not in WITHOUT_EFFECT:
            raise LoadError(f"modules.json names a module {kind!r} that is not known here.")
    return Recipe(transformer, pooling, tuple(dense), _max_tokens(transformer), known)


def _pooling(config: Mapping[str, Any]) -> Pooling:
    asked = config.get("pooling_mode")
    if asked is None:
        asked = [mode for flag, mode in FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [asked] if isinstance(asked, str) else list(asked)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise LoadError(
            f"Pooling {' and '.join(map(str, modes))} is not known; {', '.join(POOLINGS)} are."
        )
    return POOLINGS[modes[0]]


def _dense(home: Path, config: Mapping[str, Any]) -> Dense:
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ("Tanh", "Identity") or config.get("use_residual"):
        raise LoadError(f"{home.name}: a dense module with {activation} is not known here.")
    try:
        sizes = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError):
        raise LoadError(f"{home.name}/config.json lacks in_features or out_features.") from None
    return Dense(home, *sizes, bias=bool(config.get("bias", True)), tanh=activation == "Tanh")


def _max_tokens(transformer: Path) -> int | None:
    for name in LENGTH_FILES:
        length = read_object(transformer / name).get("max_seq_length")
        if isinstance(length, int):
            return length
    return None
