"""Reads sentence-transformers' files: how token vectors become a text's vector, and prompts.

These are modules.json, the pooling module's config.json in both forms (`pooling_mode`, and the
older `pooling_mode_*` flags), dense modules and max_seq_length, as documented by
sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files.json_file import read_list, read_object
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
PROMPTS_FILE = "config_sentence_transformers.json"
WITHOUT_EFFECT = frozenset({"Normalize", "Dropout"})
"""Modules that do not change a vector's direction: every vector is normalised anyway."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after pooling; its tensors are `linear.weight` and, if `bias`, `linear.bias`
    in `folder`/model.safetensors."""

    folder: Path
    in_size: int
    out_size: int
    bias: bool
    tanh: bool


@dataclass(frozen=True, slots=True)
class Prompts:
    """Texts by name, prepended to an input; `default` names the one for inputs that select none.

    Format: sbert.net/docs/package_reference/sentence_transformer ("prompts",
    "default_prompt_name").
    """

    texts: dict[str, str] = field(default_factory=dict)
    default: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Prompts:
        """The prompts of a model folder, none if it has no such file. Raises LoadError."""
        config = read_object(folder / PROMPTS_FILE)
        texts = config.get("prompts") or {}
        default = config.get("default_prompt_name")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise LoadError(f"{PROMPTS_FILE}: prompts must be an object of strings.")
        if default is not None and default not in texts:
            raise LoadError(
                f"{PROMPTS_FILE}: default_prompt_name {default!r} is not one of its prompts."
            )
        return cls(texts, default)


@dataclass(frozen=True, slots=True)
class Recipe:
    """`pooling` is None if the repository does not specify it; `transformer` is the encoder's
    folder."""

    transformer: Path
    pooling: Pooling | None
    dense: tuple[Dense, ...]
    max_tokens: int | None
    prompts: Prompts


def read(folder: Path) -> Recipe:
    """The recipe of a model folder. Raises LoadError for an unsupported module."""
    transformer, pooling, known = folder, None, Prompts.read(folder)
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
                # Pooling would have to exclude a prompt's tokens, so no prompts are offered.
                known = Prompts()
        elif kind == "Dense":
            dense.append(_dense(home, read_object(home / "config.json")))
        elif kind not in WITHOUT_EFFECT:
            raise LoadError(f"modules.json contains an unsupported module: {kind!r}.")
    return Recipe(transformer, pooling, tuple(dense), _max_tokens(transformer), known)


def _pooling(config: Mapping[str, Any]) -> Pooling:
    given = config.get("pooling_mode")
    if given is None:
        given = [mode for flag, mode in FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise LoadError(
            f"Unsupported pooling: {' and '.join(map(str, modes))}; supported are: "
            f"{', '.join(POOLINGS)}."
        )
    return POOLINGS[modes[0]]


def _dense(home: Path, config: Mapping[str, Any]) -> Dense:
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ("Tanh", "Identity") or config.get("use_residual"):
        raise LoadError(f"{home.name}: a dense module with {activation} is not supported.")
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
