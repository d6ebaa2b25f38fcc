"""From a spec and a chosen engine to a loaded model: import the engine, build it.

The only module of the server that imports engines, and only the chosen one.
"""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_contract.spec import ModelSpec, Task
from fleet_prepare.choose import EngineChoice
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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, how it was chosen and the seconds it took to import and build."""

    model: Any
    choice: EngineChoice
    import_seconds: float
    build_seconds: float


def load(spec: ModelSpec, folder: Path, threads: int, choice: EngineChoice) -> Loaded:
    """Import the engine and build the model. Raises LoadError with what to do."""
    event(
        logger, "engine_chosen", model=spec.model, engine=choice.engine.value,
        device=choice.device, reason=choice.reason,
    )  # fmt: skip
    started = time.monotonic()
    factory = _factory(choice)
    imported = time.monotonic()
    device_spec = spec.model_copy(update={"device": choice.device})
    try:
        model = factory(device_spec, folder, threads)
    except (LoadError, MemoryError):
        raise
    except Exception as error:
        logger.exception("the engine could not load %s", spec.model)
        raise LoadError(f"{spec.model} could not be loaded: {error}") from error
    if not isinstance(model, PROTOCOLS[spec.task]):
        raise LoadError(
            f"{choice.factory} does not implement {PROTOCOLS[spec.task].__name__}.",
            "See fleet_server/protocols.py for its methods.",
        )
    return Loaded(model, choice, imported - started, time.monotonic() - imported)


def _factory(choice: EngineChoice) -> Any:
    module_name, _, attribute = choice.factory.partition(":")
    if not attribute:
        module_name, _, attribute = choice.factory.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise LoadError(
            f"The {choice.engine.value} engine cannot be imported: {error}.",
            f"`pip install modelfleet[{'torch' if choice.engine.value == 'torch' else 'server'}]`",
        ) from error
    except AttributeError as error:
        raise LoadError(f"{choice.factory} does not exist: {error}.") from error
