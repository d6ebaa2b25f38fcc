"""Chooses the engine that serves a model on a machine, its device and number format, with the
reason; pure.

The choice depends on what is installed and on the names of the model's files, so it is the same
before anything is fetched and for a folder on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from fleet_contract.engines import features
from fleet_contract.engines.limits import (
    DEVICE_HINT,
    Refusal,
    option_refusal,
    refusal,
    refusal_of_all,
)
from fleet_contract.installation import install_command
from fleet_contract.spec import ADAPTER_ENGINES, Dtype, Engine, ModelSpec, Task
from fleet_prepare import converters, encoder
from fleet_prepare.converters import ConversionPlan, Converter
from fleet_prepare.cublas import LIBRARY
from fleet_prepare.errors import CannotServe
from fleet_prepare.hints import CUDA_HINT, install_hint, torch_hint
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
from fleet_prepare.placement import devices, dtypes
from fleet_prepare.readers import READERS
from fleet_weights.allowed import PICKLE_SUFFIXES
from fleet_weights.hub.selection import PICKLE_HINT, WeightsFormat

FACTORIES: dict[tuple[Engine, Task], str] = {
    (Engine.OPENVINO, Task.CHAT): "fleet_server.engines.openvino.chat:OpenVinoChat",
    (Engine.OPENVINO, Task.EMBEDDING): "fleet_server.engines.openvino.encoder:EmbeddingEngine",
    (Engine.OPENVINO, Task.RERANK): "fleet_server.engines.openvino.encoder:RerankEngine",
    (Engine.CTRANSLATE2, Task.SPEECH): "fleet_server.engines.ctranslate2:SpeechEngine",
    (Engine.LLAMACPP, Task.CHAT): "fleet_server.engines.llamacpp.chat:LlamaChat",
    (Engine.LLAMACPP, Task.EMBEDDING): "fleet_server.engines.llamacpp.embedding:LlamaEmbedding",
    (Engine.LLAMACPP, Task.RERANK): "fleet_server.engines.llamacpp.rerank:LlamaRerank",
    (Engine.VLLM, Task.CHAT): "fleet_server.engines.vllm.chat:VllmChat",
    (Engine.TORCH, Task.CHAT): "fleet_server.engines.torch:TorchChat",
    (Engine.TORCH, Task.EMBEDDING): "fleet_server.engines.torch:TorchEmbedding",
    (Engine.TORCH, Task.RERANK): "fleet_server.engines.torch:TorchRerank",
    (Engine.TORCH, Task.SPEECH): "fleet_server.engines.torch:TorchSpeech",
}

BRINGS = "`make up TORCH=1` brings the engine for it"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`factory` is the `module:Class` to build, `reason` why.

    `kind` is the kind of weight files that are loaded or converted (None for a handler);
    `conversion` must be run first; None if the engine loads the files as they are. `dtype` is the
    number format it computes in; `auto` where that depends on the GPU or the weights.
    """

    engine: Engine
    factory: str
    device: str
    reason: str
    kind: WeightsFormat | None = None
    conversion: ConversionPlan | None = None
    dtype: Dtype = Dtype.AUTO


def choose(
    spec: ModelSpec,
    files: ModelFiles,
    machine: Machine,
    known: Sequence[Converter] | None = None,
) -> EngineChoice:
    """The engine for `spec`; `known` are the available converters, CONVERTERS when None.

    Raises CannotServe, with what would make it run, if no engine fits.
    """
    decision = _Decision(spec, files, machine, converters.CONVERTERS if known is None else known)
    if spec.handler is not None:
        device = machine.accelerator if spec.device == "auto" else spec.device
        return EngineChoice(Engine.CUSTOM, spec.handler, device, "the spec names a handler")
    devices.check(spec, machine)
    choice = decision.automatic() if spec.engine is Engine.AUTO else decision.named()
    if choice.conversion is None and spec.quantization in features.QUANTIZED:
        raise CannotServe(
            f"{spec.model}: quantization {spec.quantization.value} is for weights that are "
            f"converted; {choice.engine.value} loads these files as they are.",
            "Leave `quantization` (QUANTIZATION) at auto, or name safetensors in `source`.",
        )
    _raise(option_refusal(spec, choice.engine))
    dtype = dtypes.decide(spec, choice.engine, choice.device, files, bf16=machine.cpu_bf16)
    return replace(choice, dtype=dtype)


def check(spec: ModelSpec, machine: Machine) -> None:
    """Raises CannotServe for reasons that do not depend on the model's files."""
    if spec.handler is not None:
        return
    devices.check(spec, machine)
    if spec.engine is Engine.AUTO:
        _raise(refusal_of_all(spec, features.TASKS, spec.device))
    else:
        _Decision(spec, ModelFiles(frozenset()), machine, ()).place()


def _raise(refused: Refusal | None) -> None:
    if refused is not None:
        raise CannotServe(refused.message, refused.hint)


class _Decision:
    """One decision from spec, files and machine."""

    def __init__(
        self,
        spec: ModelSpec,
        files: ModelFiles,
        machine: Machine,
        known: Sequence[Converter],
    ) -> None:
        self._spec = spec
        self._files = files
        self._machine = machine
        self._converters = known
        self._device = machine.accelerator if spec.device == "auto" else spec.device

    @property
    def _on_intel(self) -> bool:
        return features.kind_of(self._device) in features.INTEL

    def automatic(self) -> EngineChoice:
        """The first that fits of: an engine on the GPU, a CPU engine, vllm for adapters and torch
        on the CPU."""
        spec, device = self._spec, self._device
        note = ""
        if self._on_intel:
            chosen = self._by(Engine.OPENVINO, device, f"device {device}")
            if chosen is None:
                raise CannotServe(
                    f"{spec.model} requires device {device}: the openvino engine reads none of its "
                    f"files ({self._some_names()}).",
                    "Set device (or MODEL_DEVICE) to auto or cpu.",
                )
            return chosen
        if device != "cpu":
            if (chosen := self._on_gpu()) is not None:
                return chosen
            if spec.device != "auto" and not (device == "mps" and spec.task is Task.SPEECH):
                raise self._gpu_refusal()
            note = self._why_not_the_gpu()
        lacking: EngineChoice | None = None
        for engine in features.CPU_ENGINES:
            why = note or "on a CPU"
            if lacking is not None:
                why += f", with what {lacking.engine.value} lacks"
            if (chosen := self._by(engine, "cpu", why)) is not None:
                if option_refusal(spec, engine) is None:
                    return chosen
                lacking = lacking or chosen
        if lacking is not None:
            return lacking  # refused by the caller, with the engines that have the option
        if spec.adapters and self._machine.vllm_uses("cpu"):
            why = f"{note or 'on a CPU'}, as it has adapters"
            if (chosen := self._by(Engine.VLLM, "cpu", why)) is not None:
                return chosen
        if self._machine.has_torch:
            reason = note or "no CPU engine reads these files"
            if (chosen := self._by(Engine.TORCH, "cpu", reason)) is not None:
                return chosen
        raise self._refusal(note)

    def named(self) -> EngineChoice:
        """The engine the spec names, on the device it can use."""
        spec, engine = self._spec, self._spec.engine
        device, note = self.place()
        if engine is Engine.LLAMACPP and spec.vision and self._files.projector is None:
            raise CannotServe(
                f"The llamacpp engine reads images with a projector, a GGUF file mmproj-… "
                f"beside the model; {spec.model} has none ({self._some_names()}).",
                "Name a repository or folder that has one in `source`, or remove `vision`.",
            )
        chosen = self._by(engine, device, note)
        if chosen is None:
            why = self._some_names()
            if engine is Engine.OPENVINO and spec.task in (Task.EMBEDDING, Task.RERANK):
                why = encoder.refusal(self._files.names, self._files.config) or why
            raise CannotServe(
                f"The {engine.value} engine reads none of the files of {spec.model} ({why}).",
                "Leave `engine` at auto, or name other weights in `source`.",
            )
        return chosen

    def place(self) -> tuple[str, str]:
        """The device of the engine that the spec names, and why. Raises CannotServe."""
        spec, engine, device = self._spec, self._spec.engine, self._device
        note = "the spec names it"
        _raise(refusal(spec, engine, spec.device))
        if engine is Engine.TORCH:
            if not self._machine.has_torch:
                raise CannotServe(
                    f"{spec.model} needs the torch engine ({note}), and torch is not installed.",
                    torch_hint(spec),
                )
            if not self._machine.torch_uses(device):
                if spec.device != "auto":
                    raise CannotServe(
                        f"{spec.model} requires device {device}: torch has no CUDA.", CUDA_HINT
                    )
                device, note = "cpu", f"{note}; torch has no CUDA"
        elif not self._has(engine):
            raise CannotServe(
                f"{spec.model} names the {engine.value} engine, which is not installed.",
                install_hint(engine),
            )
        elif engine is Engine.VLLM:
            device = self._device_of_vllm()
        elif engine is Engine.LLAMACPP:
            # The package for Macs has Metal, that for other machines no GPU unless it is replaced,
            # which only the engine sees.
            device = device if device == "mps" or spec.device != "auto" else "cpu"
        elif engine is Engine.OPENVINO or device == "mps":
            device = device if self._on_intel else "cpu"
        elif device != "cpu" and not self._machine.has_cublas:
            if spec.device != "auto":
                raise CannotServe(
                    f"{spec.model} requires device {device}: {_no_cublas()}.", CUDA_HINT
                )
            device, note = "cpu", f"{note}; {_no_cublas()}"
        return device, note

    def _device_of_vllm(self) -> str:
        """The device this build of vLLM computes on. Raises CannotServe."""
        spec, machine = self._spec, self._machine
        if machine.vllm_uses(self._device):
            return self._device
        if not machine.vllm_cuda and spec.device == "auto":
            return "cpu"
        kind = "CUDA GPUs" if machine.vllm_cuda else "CPUs"
        hint = "Set device (or MODEL_DEVICE), or leave `engine` at auto."
        if machine.vllm_cuda:
            hint = (
                "Request an NVIDIA GPU (on Kubernetes, `resources: {limits: {nvidia.com/gpu: 1}}`),"
                " or leave `engine` at auto."
            )
        raise CannotServe(
            f"{spec.model} would run on device {self._device}: the installed build of vLLM is for "
            f"{kind}.",
            hint,
        )

    def _on_gpu(self) -> EngineChoice | None:
        device, machine = self._device, self._machine
        note = f"device {device}"
        uses_vllm = machine.vllm_uses(device)
        if uses_vllm and (chosen := self._by(Engine.VLLM, device, note)) is not None:
            return chosen
        if self._spec.task is Task.SPEECH and (device == "mps" or machine.has_cublas):
            where, why = device, note
            if device == "mps":
                where, why = "cpu", "CTranslate2 has no MPS, so the CPU"
            if (chosen := self._by(Engine.CTRANSLATE2, where, why)) is not None:
                return chosen
        if device == "mps" and (chosen := self._by(Engine.LLAMACPP, device, note)) is not None:
            return chosen
        if machine.torch_uses(device):
            return self._by(Engine.TORCH, device, note)
        return None

    def _why_not_the_gpu(self) -> str:
        """Note on the choice of a CPU."""
        reason, install = self._gpu_obstacle()
        if not install or self._spec.task is Task.SPEECH:
            return f"on a CPU, since {reason}{f' ({BRINGS})' if install else ''}"
        return f"on a CPU: {self._gpu} is not used, since {reason} ({BRINGS})"

    def _gpu_refusal(self) -> CannotServe:
        """As the spec requires the GPU."""
        spec = self._spec
        reason, install = self._gpu_obstacle()
        hint = CUDA_HINT if install else DEVICE_HINT
        llamacpp = READERS.get((Engine.LLAMACPP, spec.task))
        if not install and llamacpp is not None and llamacpp(self._files) is not None:
            hint += (
                " Or set `engine: llamacpp`, with a build of llama.cpp for the GPU "
                "(docs/adding-a-model.md)."
            )
        elif not install and spec.adapters:
            hint += f" {install_hint(Engine.VLLM)}"
        return CannotServe(f"{spec.model} requires device {self._device}: {reason}.", hint)

    def _gpu_obstacle(self) -> tuple[str, bool]:
        """Why no engine serves the model on the GPU, and whether an installation helps."""
        spec, machine = self._spec, self._machine
        if spec.task is Task.SPEECH and self._device.startswith("cuda") and not machine.has_cublas:
            return _no_cublas(), True
        if machine.torch_uses(self._device):
            adapters = " with adapters" if spec.adapters else ""
            return f"no engine reads these files{adapters} on {self._gpu}", False
        return ("torch has no CUDA" if machine.has_torch else "torch is not installed"), True

    @property
    def _gpu(self) -> str:
        return "the NVIDIA GPU" if self._device.startswith("cuda") else "the GPU"

    def _by(self, engine: Engine, device: str, note: str) -> EngineChoice | None:
        """`engine` on `device`, with a conversion if it needs one; None if it cannot serve."""
        factory = FACTORIES.get((engine, self._spec.task))
        if factory is None or not self._has(engine):
            return None
        if self._spec.vision and not self._reads_images(engine):
            return None
        if self._spec.adapters and engine not in ADAPTER_ENGINES:
            return None
        if (reading := READERS[engine, self._spec.task](self._files)) is not None:
            reason = note if engine is Engine.TORCH else f"{note}, and {reading.reason}"
            return EngineChoice(engine, factory, device, reason, reading.kind)
        for converter in self._converters:
            if converter.engine is not engine or not self._files.known:
                continue
            if (plan := converter.plan(self._spec, self._files, device)) is not None:
                reason = f"{note}, converted to {plan.format} {plan.quantization}: {plan.reason}"
                return EngineChoice(
                    engine, factory, device, reason, WeightsFormat.SAFETENSORS, plan
                )
        return None

    def _reads_images(self, engine: Engine) -> bool:
        files = self._files
        if engine is Engine.LLAMACPP:
            return files.projector is not None
        has_others = any(name.endswith(".safetensors") for name in files.names)
        return engine in features.VISION and (has_others or not files.ggufs())

    def _has(self, engine: Engine) -> bool:
        machine = self._machine
        return {
            Engine.OPENVINO: machine.has_openvino,
            Engine.CTRANSLATE2: machine.has_ctranslate2,
            Engine.LLAMACPP: machine.has_llamacpp,
            Engine.VLLM: machine.has_vllm,
            Engine.TORCH: machine.has_torch,
        }[engine]

    def _refusal(self, note: str) -> CannotServe:
        spec, files = self._spec, self._files
        llamacpp = READERS.get((Engine.LLAMACPP, spec.task))
        sees = not spec.vision or files.projector is not None
        if llamacpp is not None and llamacpp(files) is not None and sees:
            return CannotServe(
                f"{spec.model} needs the llamacpp engine ({note or 'no other reads its GGUF'}), "
                f"which is not installed.",
                f"Install it with `{install_command('llamacpp')}`.",
            )
        if spec.adapters:
            return CannotServe(
                f"{spec.model} has adapters, and no engine that loads them reads its files "
                f"({self._some_names()}) here.",
                f"llamacpp reads GGUF, and vllm safetensors. {install_hint(Engine.VLLM)}",
            )
        if spec.vision and not self._reads_images(Engine.TORCH):
            return CannotServe(
                f"No engine reads images with the files of {spec.model} ({self._some_names()}).",
                "llamacpp needs a projector, a GGUF file mmproj-… beside the model; torch and vllm "
                "read safetensors.",
            )
        if READERS[Engine.TORCH, spec.task](files) is not None:
            why = "it reads images" if spec.vision else note or "no CPU engine reads these files"
            return CannotServe(
                f"{spec.model} needs the torch engine ({why}), and torch is not installed.",
                torch_hint(spec),
            )
        if any(PurePosixPath(name).suffix in PICKLE_SUFFIXES for name in files.names):
            return CannotServe(
                f"{spec.model} holds no weights that Modelfleet loads ({self._some_names()}).",
                PICKLE_HINT,
            )
        return CannotServe(
            f"No engine reads the files of {spec.model} ({self._some_names()}).",
            "`source` must name safetensors, GGUF, ONNX, OpenVINO IR or CTranslate2 files with "
            "tokenizer.json and config.json.",
        )

    def _some_names(self, limit: int = 6) -> str:
        names = sorted(self._files.names)
        more = f" and {len(names) - limit} more" if len(names) > limit else ""
        return (", ".join(names[:limit]) or "none") + more


def _no_cublas() -> str:
    return f"CTranslate2 finds no {LIBRARY}"
