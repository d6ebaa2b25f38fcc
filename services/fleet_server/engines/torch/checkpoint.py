"""Loads models with transformers from local safetensors or GGUF files, never code or pickles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GgufConfig
from transformers.utils import logging as transformers_logging

from fleet_contract.spec import Dtype
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.torch import fp8
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.load_error import LoadError

logger = logging.getLogger(__name__)

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder; `gguf` is the name of its GGUF file, None for safetensors."""

    folder: Path
    gguf: str | None
    config: dict[str, Any]

    @classmethod
    def find(cls, folder: Path) -> ModelFolder:
        """Select the weights in `folder`. Raises LoadError."""
        if folder.is_file() and folder.suffix == ".gguf":
            return cls(folder.parent, folder.name, {})
        if any(folder.glob("*.safetensors")):
            config = read_object(folder / "config.json")
            if not config:
                raise LoadError(f"{folder} has no config.json.", "Fetch the model again.")
            return cls(folder, None, config)
        files = sorted(folder.glob("*.gguf"))
        if len(files) == 1:
            return cls(folder, files[0].name, {})
        if files:
            names = ", ".join(path.name for path in files)
            raise LoadError(
                f"{folder} has several GGUF files ({names}).", "Select one with `source`."
            )
        pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
        if pickles:
            raise LoadError(
                f"{folder} has weights as pickles only ({pickles[0]}), which can run code.",
                "Use a revision with safetensors.",
            )
        raise LoadError(
            f"{folder} has neither safetensors nor a GGUF file.",
            "Fetch the model with `modelfleet pull`.",
        )

    @property
    def stored_dtype(self) -> str | None:
        """Name of the weights' torch dtype in config.json."""
        text = self.config.get("text_config", {})
        named = self.config.get("dtype") or self.config.get("torch_dtype") or text.get("dtype")
        return named if isinstance(named, str) else None

    @property
    def fits_float16(self) -> bool:
        """Whether the activations stay within float16; those of Gemma 3 do not (its model card)."""
        return not str(self.config.get("model_type", "")).startswith("gemma3")

    @property
    def source(self) -> dict[str, Any]:
        """Arguments of every `from_pretrained`: local files only, no code from the repository."""
        where = {"gguf_file": self.gguf} if self.gguf else {}
        return {"local_files_only": True, "trust_remote_code": False, **where}

    def load(
        self, auto_class: Any, runtime: Runtime, requested: Dtype, *, unused: tuple[str, ...] = ()
    ) -> Any:
        """The model, in evaluation mode on the device.

        Raises LoadError, also for missing tensors, except those whose name begins with one of
        `unused`; otherwise what transformers raises.
        """
        quantised = self._fp8(runtime.device, requested)
        transformers_logging.disable_progress_bar()
        how: dict[str, Any] = {"dtype": runtime.dtype, "output_loading_info": True}
        if self.gguf:
            how["quantization_config"] = GgufConfig(dequantize=True)
        else:
            how["use_safetensors"] = True
        if quantised is not None:
            how["quantization_config"] = fp8.loading(self.config, quantised)
        # An Apple GPU has no float8: dequantise first, then move.
        moved = quantised is not None and runtime.device.type == "mps"
        if runtime.device.type != "cpu" and not moved:
            how["device_map"] = {"": runtime.device}
        try:
            model, found = auto_class.from_pretrained(str(self.folder), **self.source, **how)
        except ImportError as error:
            raise LoadError(f"These weights require a missing package: {error}") from error
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(unused))
        if missing:  # transformers would initialise them randomly
            raise LoadError(
                f"The weights lack {len(missing)} tensors of {type(model).__name__}, such as "
                f"{missing[0]!r}.",
                "They are incomplete, or the model does not match `task`.",
            )
        if moved:
            model = model.to(runtime.device)
        return model.eval().requires_grad_(False)

    def _fp8(self, device: torch.device, requested: Dtype) -> fp8.Fp8Decision | None:
        """How FP8 weights are used; None for other weights. Raises LoadError."""
        if not fp8.is_fp8(self.config):
            if requested is Dtype.FP8:
                raise LoadError("dtype is fp8, but these weights are not.", "Use dtype auto.")
            return None
        decision = fp8.decide(
            requested, device.type, fp8.capability_of(device), fp8.kernels_missing
        )
        if not decision.native:
            fp8.check_blocks(self.folder, self.config)
        logger.info(
            "FP8 weights are %s: %s", "used as they are" if decision.native else "dequantised",
            decision.reason,
        )  # fmt: skip
        return decision
