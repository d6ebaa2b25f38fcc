"""Which engine serves a model on this device: a pure decision with its reason in words.

Called by fleet_server.load; the reason is shown in the table of `modelfleet up`, in `/v1/models`
and in a log line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_server.engines.openvino import chat_files
from fleet_server.load_error import LoadError

TORCH_HINT = "Install the torch engine with `make up TORCH=1` (or `pip install modelfleet[torch]`)."


@dataclass(frozen=True, slots=True)
class Choice:
    """`factory` is the `module:Class` to build, `reason` why."""

    engine: Engine
    factory: str
    device: str
    reason: str


FACTORIES: dict[tuple[Engine, Task], str] = {
    (Engine.OPENVINO, Task.CHAT): "fleet_server.engines.openvino.chat:OpenVinoChat",
    (Engine.OPENVINO, Task.EMBEDDING): "fleet_server.engines.openvino.encoder:EmbeddingEngine",
    (Engine.OPENVINO, Task.RERANK): "fleet_server.engines.openvino.encoder:RerankEngine",
    (Engine.CTRANSLATE2, Task.SPEECH): "fleet_server.engines.ctranslate2:SpeechEngine",
    (Engine.TORCH, Task.CHAT): "fleet_server.engines.torch:TorchChat",
    (Engine.TORCH, Task.EMBEDDING): "fleet_server.engines.torch:TorchEmbedding",
    (Engine.TORCH, Task.RERANK): "fleet_server.engines.torch:TorchRerank",
    (Engine.TORCH, Task.SPEECH): "fleet_server.engines.torch:TorchSpeech",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process could use: `accelerator` is `cuda`, `mps` or `cpu`."""

    accelerator: str
    has_torch: bool


def choose(
    spec: ModelSpec, folder: Path, machine: Machine, encoder_supports: Callable[[Path], str | None]
) -> Choice:
    """The engine for `spec`. Raises LoadError when none fits.

    `encoder_supports` says why the OpenVINO encoder can serve a folder, or None.
    """
    device = machine.accelerator if spec.device == "auto" else spec.device
    if spec.handler is not None:
        return Choice(Engine.CUSTOM, spec.handler, device, "the spec names a handler")
    if spec.engine is not Engine.AUTO:
        return _named(spec, device, machine)
    if spec.task is Task.SPEECH and is_ctranslate2(folder):
        if device == "mps":
            return _build(spec, Engine.CTRANSLATE2, "cpu", "CTranslate2 has no MPS, so the CPU")
        return _build(spec, Engine.CTRANSLATE2, device, "the folder holds a CTranslate2 model")
    if device == "cpu" and not spec.vision:
        reason = None
        if spec.task is Task.CHAT:
            reason = chat_files.supports(folder)
        elif spec.task in (Task.EMBEDDING, Task.RERANK):
            reason = encoder_supports(folder)
        if reason is not None:
            return _build(spec, Engine.OPENVINO, "cpu", f"on a CPU, and {reason}")
    reason = f"device {device}" if device != "cpu" else "no CPU engine reads these files"
    return _torch(spec, device, machine, reason)


def _named(spec: ModelSpec, device: str, machine: Machine) -> Choice:
    reason = "the spec names it"
    if spec.engine is Engine.TORCH:
        return _torch(spec, device, machine, reason)
    if spec.engine is Engine.OPENVINO:
        device = "cpu"
    return _build(spec, spec.engine, device, reason)


def _torch(spec: ModelSpec, device: str, machine: Machine, reason: str) -> Choice:
    if not machine.has_torch:
        raise LoadError(
            f"{spec.model} needs the torch engine ({reason}), and torch is not installed.",
            TORCH_HINT,
        )
    return _build(spec, Engine.TORCH, device, reason)


def _build(spec: ModelSpec, engine: Engine, device: str, reason: str) -> Choice:
    factory = FACTORIES.get((engine, spec.task))
    if factory is None:
        able = [known.value for known, task in FACTORIES if task is spec.task]
        raise LoadError(
            f"The {engine.value} engine does not serve task {spec.task.value} in this process.",
            f"Engines that do: {', '.join(able)}.",
        )
    return Choice(engine, factory, device, reason)


def is_ctranslate2(folder: Path) -> bool:
    """Whether the folder holds a Whisper model converted for CTranslate2."""
    if not (folder / "model.bin").is_file():
        return False
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return "suppress_ids" in config or "alignment_heads" in config
