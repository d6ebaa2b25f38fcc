"""Chooses the engine that serves a model on a machine, with the reason; pure.

The choice depends on what is installed and on the names of the model's files, so it is the same
before anything is fetched and for a folder on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fleet_contract.installation import install_command
from fleet_contract.spec import ADAPTER_ENGINES, Engine, ModelSpec, Quantization, Task
from fleet_contract.spec_parts import CacheType
from fleet_prepare import converters, encoder
from fleet_prepare.converters import ConversionPlan, Converter
from fleet_prepare.cublas import LIBRARY
from fleet_prepare.errors import CannotServe
from fleet_prepare.hints import CUDA_HINT, install_hint, torch_hint
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
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

SPECULATION: dict[Engine, frozenset[str]] = {
    Engine.OPENVINO: frozenset({"promptLookup"}),
    Engine.LLAMACPP: frozenset({"draft", "promptLookup"}),
}
"""Methods of speculative decoding that engines have, by their names on the wire."""
VISION_ENGINES = (Engine.LLAMACPP, Engine.VLLM, Engine.TORCH)
"""Engines that read images; llamacpp with a projector beside the model."""
CONVERTED = (Quantization.INT8, Quantization.INT4)
INTEL = ("gpu", "npu")
"""Kinds of devices that only OpenVINO uses."""
CPU_ENGINES = (Engine.OPENVINO, Engine.CTRANSLATE2, Engine.LLAMACPP)
"""In the order of choice: llama.cpp gets the GGUF files that OpenVINO does not read."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`factory` is the `module:Class` to build, `reason` why.

    `kind` is the kind of weight files that are loaded or converted (None for a handler);
    `conversion` must be run first; None if the engine loads the files as they are.
    """

    engine: Engine
    factory: str
    device: str
    reason: str
    kind: WeightsFormat | None = None
    conversion: ConversionPlan | None = None


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
    decision.check_device()
    decision.check_intel()
    choice = decision.automatic() if spec.engine is Engine.AUTO else decision.named()
    if choice.conversion is None and spec.quantization in CONVERTED:
        raise CannotServe(
            f"{spec.model}: quantization {spec.quantization.value} is for weights that are "
            f"converted; {choice.engine.value} loads these files as they are.",
            "Leave `quantization` (QUANTIZATION) at auto, or name safetensors in `source`.",
        )
    _check_speculation(spec, choice.engine)
    if spec.cache.type is not CacheType.AUTO and choice.engine is not Engine.LLAMACPP:
        raise CannotServe(
            f"{spec.model}: the {choice.engine.value} engine has no cache.type "
            f"{spec.cache.type.value}.",
            "The engine llamacpp does. Remove the field, or set `engine`.",
        )
    return choice


def _check_speculation(spec: ModelSpec, engine: Engine) -> None:
    """Raises CannotServe if the engine lacks a method of `speculative` in the spec."""
    for method in sorted(spec.speculative.wanted - SPECULATION.get(engine, frozenset())):
        able = [known.value for known, methods in SPECULATION.items() if method in methods]
        raise CannotServe(
            f"{spec.model}: the {engine.value} engine has no speculative.{method}.",
            f"Engines that do: {', '.join(able)}. Remove the field, or set `engine`.",
        )
    if "draft" in spec.speculative.wanted and spec.vision:
        # With a draft model of another width, llama.cpp fails all running sequences at an image.
        raise CannotServe(
            f"{spec.model}: no engine reads images with a draft model.",
            "Remove `vision` or `speculative.draft`; `speculative.promptLookup` has no such limit.",
        )


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

    def check_device(self) -> None:
        """Raises CannotServe if the spec names a device that this machine does not have."""
        wanted = self._spec.device
        kind = wanted.partition(":")[0]
        if kind in ("auto", "cpu", self._machine.accelerator) or kind in self._machine.intel:
            return
        name = {
            "mps": "no Metal",
            "gpu": "no Intel GPU that this process may open (NVIDIA's are `cuda`)",
            "npu": "no Intel NPU that this process may open",
        }.get(
            kind,
            "no NVIDIA GPU, and no AMD GPU that a ROCm build of torch uses, or "
            "CUDA_VISIBLE_DEVICES hides it",
        )
        raise CannotServe(
            f"{self._spec.model} requires device {wanted}; this machine has {name}.",
            "Set device (or MODEL_DEVICE) to auto or cpu.",
        )

    def check_intel(self) -> None:
        """Raises CannotServe if the spec names an Intel device that its engine cannot use."""
        spec = self._spec
        if not self._on_intel:
            return
        if spec.engine not in (Engine.AUTO, Engine.OPENVINO):
            why = f"the {spec.engine.value} engine does not use it"
        elif (Engine.OPENVINO, spec.task) not in FACTORIES:
            why = f"the openvino engine does not serve task {spec.task.value}"
        elif spec.device == "npu" and spec.task is Task.CHAT:
            why = "OpenVINO GenAI does not batch chats on an NPU"
        else:
            return
        raise CannotServe(
            f"{spec.model} requires device {spec.device}: {why}.",
            "Set device (or MODEL_DEVICE) to auto or cpu.",
        )

    @property
    def _on_intel(self) -> bool:
        return self._device.partition(":")[0] in INTEL

    def automatic(self) -> EngineChoice:
        """The first that fits of: an engine on the GPU, a CPU engine, torch on the CPU."""
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
            note = self._why_not_the_gpu()
            if spec.device != "auto" and not (device == "mps" and spec.task is Task.SPEECH):
                raise CannotServe(f"{spec.model} requires device {device}: {note}.", CUDA_HINT)
        for engine in CPU_ENGINES:
            if (chosen := self._by(engine, "cpu", note or "on a CPU")) is not None:
                return chosen
        if self._machine.has_torch:
            reason = note or "no CPU engine reads these files"
            if (chosen := self._by(Engine.TORCH, "cpu", reason)) is not None:
                return chosen
        raise self._refusal(note)

    def named(self) -> EngineChoice:
        """The engine the spec names, on the device it can use."""
        spec, engine, device = self._spec, self._spec.engine, self._device
        if (engine, spec.task) not in FACTORIES:
            able = [known.value for known, task in FACTORIES if task is spec.task]
            raise CannotServe(
                f"The {engine.value} engine does not serve task {spec.task.value} in this process.",
                f"Engines that do: {', '.join(able)}.",
            )
        note = "the spec names it"
        if spec.vision and engine not in VISION_ENGINES:
            raise CannotServe(
                f"The {engine.value} engine does not read images, and {spec.model} has `vision`.",
                "Remove `vision`, or leave `engine` at auto.",
            )
        if spec.adapters and engine not in ADAPTER_ENGINES:
            raise CannotServe(
                f"The {engine.value} engine loads no adapters, and {spec.model} has some.",
                f"Engines that do: {', '.join(ADAPTER_ENGINES)}.",
            )
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
            if spec.vision and self._files.projector is None:
                raise CannotServe(
                    f"The llamacpp engine reads images with a projector, a GGUF file mmproj-… "
                    f"beside the model; {spec.model} has none ({self._some_names()}).",
                    "Name a repository or folder that has one in `source`, or remove `vision`.",
                )
        elif engine is Engine.OPENVINO or device == "mps":
            device = device if self._on_intel else "cpu"
        elif device != "cpu" and not self._machine.has_cublas:
            if spec.device != "auto":
                raise CannotServe(
                    f"{spec.model} requires device {device}: {_no_cublas()}.", CUDA_HINT
                )
            device, note = "cpu", f"{note}; {_no_cublas()}"
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

    def _device_of_vllm(self) -> str:
        """The device this build of vLLM computes on. Raises CannotServe."""
        spec, machine = self._spec, self._machine
        if machine.vllm_uses(self._device):
            return self._device
        if not machine.vllm_cuda and spec.device == "auto":
            return "cpu"
        kind = "CUDA GPUs" if machine.vllm_cuda else "CPUs"
        raise CannotServe(
            f"{spec.model} would run on device {self._device}: the installed build of vLLM is for "
            f"{kind}.",
            "Set device (or MODEL_DEVICE), or leave `engine` at auto.",
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
        machine, brings = self._machine, "`make up TORCH=1` brings the engine for it"
        gpu = "the NVIDIA GPU" if self._device.startswith("cuda") else "the GPU"
        speech = self._spec.task is Task.SPEECH
        if speech and self._device.startswith("cuda") and not machine.has_cublas:
            return f"on a CPU, since {_no_cublas()} ({brings})"
        if machine.torch_uses(self._device):
            return f"on a CPU, since no engine reads these files on {gpu}"
        missing = "torch has no CUDA" if machine.has_torch else "torch is not installed"
        return f"on a CPU: {gpu} is not used, since {missing} ({brings})"

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
        return engine in VISION_ENGINES and (has_others or not files.ggufs())

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
                f"Engines that do: {', '.join(ADAPTER_ENGINES)}; llamacpp reads GGUF.",
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
