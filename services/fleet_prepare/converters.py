"""The table of conversions: task, engine, package and number format.

A converter is a package with `convert`, `supports` and `VERSION`, imported when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec import Dtype, Engine, ModelSpec, Quantization, Task
from fleet_prepare.errors import CannotServe
from fleet_prepare.model_files import ModelFiles

BYTES_PER_WEIGHT: dict[str, float] = {
    "float32": 4, "bfloat16": 2, "float16": 2, "none": 2, "int8": 1.15, "int4": 0.75,
}  # fmt: skip
"""Bytes a weight takes once converted, scales and unquantized tensors included."""


@dataclass(frozen=True, slots=True)
class Converter:
    """`module` is the dotted path of a package with `convert`, `supports` and `VERSION`.

    `format` names the files it writes and is part of their folder's name; `quantization` is the
    number format for a spec on a device.
    """

    task: Task
    engine: Engine
    module: str
    format: str
    quantization: Callable[[ModelSpec, str], str]

    def load(self) -> Any | None:
        """The package, or None if it is not installed."""
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is not None and self.module.startswith(error.name):
                return None
            raise

    def plan(self, spec: ModelSpec, files: ModelFiles, device: str) -> ConversionPlan | None:
        """The conversion of `files`, or None if this converter does not read them.

        Raises CannotServe if the spec names a number format the converter does not write.
        """
        if spec.task is not self.task or spec.vision:
            return None
        package = self.load()
        if package is None:
            return None
        reason: str | None = package.supports(files.names, files.config)
        if reason is None:
            return None
        quantization = self.quantization(spec, device)
        return ConversionPlan(self.module, self.format, quantization, int(package.VERSION), reason)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """A conversion to run: package, file format and number format."""

    module: str
    format: str
    quantization: str
    version: int
    reason: str

    @property
    def suffix(self) -> str:
        """Suffix of the converted folder's name: `.<format>-<quantization>-v<N>`."""
        return f".{self.format}-{self.quantization}-v{self.version}"


def speech_quantization(spec: ModelSpec, device: str) -> str:
    """Number format of a converted Whisper: `dtype`, else int8, or float16 on a GPU.

    bfloat16 is stored as float16, which CTranslate2 converts when it loads the model. Raises
    CannotServe for a format it does not store.
    """
    requested = spec.quantization
    if requested is Quantization.INT4 or spec.dtype is Dtype.FP8:
        raise CannotServe(
            f"{spec.model}: CTranslate2 stores Whisper in float32, float16 or int8, not in "
            f"{'int4' if requested is Quantization.INT4 else 'fp8'}.",
            "Leave quantization and dtype at auto.",
        )
    if requested is Quantization.INT8:
        return "int8"
    if spec.dtype is not Dtype.AUTO:
        return "float16" if spec.dtype is Dtype.BFLOAT16 else spec.dtype.value
    if requested is Quantization.NONE:
        return "float32" if device == "cpu" else "float16"
    return "int8" if device == "cpu" else "float16"


def chat_quantization(spec: ModelSpec, device: str) -> str:
    """Number format of a converted chat model's weights: the spec's, else int8.

    `dtype: float32` without a quantization keeps the weights as they are.
    """
    if spec.quantization is not Quantization.AUTO:
        return spec.quantization.value
    return "none" if spec.dtype is Dtype.FLOAT32 else "int8"


CONVERTERS: tuple[Converter, ...] = (
    Converter(
        Task.SPEECH, Engine.CTRANSLATE2, "fleet_prepare.whisper", "ctranslate2", speech_quantization
    ),
    Converter(Task.CHAT, Engine.OPENVINO, "fleet_prepare.chat", "openvino", chat_quantization),
)
