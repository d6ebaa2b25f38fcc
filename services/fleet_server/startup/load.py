"""Imports the chosen engine and builds the model.

The only module of the server that imports engines.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from fleet_contract.spec import ADAPTER_ENGINES, Engine, ModelSpec, Task
from fleet_prepare.choose import EngineChoice
from fleet_prepare.hints import install_hint
from fleet_server.load_error import LoadError
from fleet_server.protocols import ChatModel, EmbeddingModel, RerankModel, SpeechModel
from fleet_web.logs import event

logger = logging.getLogger(__name__)

PROTOCOLS: dict[Task, type] = {
    Task.CHAT: ChatModel,
    Task.EMBEDDING: EmbeddingModel,
    Task.RERANK: RerankModel,
    Task.SPEECH: SpeechModel,
}
WITH_DTYPE = (Engine.OPENVINO, Engine.TORCH, Engine.VLLM)
"""Engines that are given the number format of the choice; CTranslate2 lists those it has itself,
and llama.cpp computes with that of the file."""
NONE: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, the choice of its engine, and the seconds it took to import and build."""

    model: Any
    choice: EngineChoice
    import_seconds: float
    build_seconds: float


def load(
    spec: ModelSpec,
    folder: Path,
    threads: int,
    choice: EngineChoice,
    adapters: Mapping[str, Path] = NONE,
    draft: Path | None = None,
) -> LoadedModel:
    """Import the engine and build the model; `adapters` are the files of its LoRA adapters by name,
    `draft` that of its draft model.

    Raises LoadError and MemoryError.
    """
    event(
        logger, "engine_chosen", model=spec.model, engine=choice.engine.value,
        device=choice.device, reason=choice.reason,
    )  # fmt: skip
    started = time.monotonic()
    factory = _factory(choice)
    imported = time.monotonic()
    others: dict[str, Any] = {"adapters": adapters} if adapters else {}
    if draft is not None:
        others["draft"] = draft
    if choice.engine in WITH_DTYPE:
        others["dtype"] = choice.dtype
    device_spec = spec.model_copy(update={"device": choice.device})
    try:
        model = factory(device_spec, folder, threads, **others)
    except (LoadError, MemoryError):
        raise
    except Exception as error:
        logger.exception("the engine could not load %s", spec.model)
        raise LoadError(f"{spec.model} could not be loaded: {error}") from error
    protocol = PROTOCOLS[spec.task]
    if missing := [name for name in members(protocol) if not hasattr(model, name)]:
        raise LoadError(
            f"{choice.factory} does not implement {protocol.__name__}: it has no "
            f"{', '.join(missing)}.",
            "fleet_server/protocols describes the members.",
        )
    if missing := sorted(adapters.keys() - set(getattr(model, "adapters", ()))):
        raise LoadError(
            f"{choice.factory} has not loaded the adapters {', '.join(missing)}.",
            f"Engines that load adapters: {', '.join(ADAPTER_ENGINES)}.",
        )
    return LoadedModel(model, choice, imported - started, time.monotonic() - imported)


def members(protocol: type) -> list[str]:
    """Names of the attributes and methods of a protocol, in the order of their definition."""
    names: dict[str, None] = {}
    for base in reversed(protocol.__mro__):
        if getattr(base, "_is_protocol", False) and base is not Protocol:
            names |= dict.fromkeys((*base.__annotations__, *vars(base)))
    return [name for name in names if not name.startswith("_")]


def _factory(choice: EngineChoice) -> Any:
    module_name, _, attribute = choice.factory.partition(":")
    if not attribute:
        module_name, _, attribute = choice.factory.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise LoadError(
            f"The {choice.engine.value} engine cannot be imported: {error}.",
            install_hint(choice.engine),
        ) from error
    except ImportError as error:
        raise LoadError(
            f"The {choice.engine.value} engine cannot be imported: {error}.",
            "Install the shared library that is missing; libgomp.so.1 is in Debian's package "
            "libgomp1.",
        ) from error
    except AttributeError as error:
        raise LoadError(f"{choice.factory} does not exist: {error}.") from error
