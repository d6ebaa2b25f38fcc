"""Which files transformers loads, and how: local, safetensors or GGUF, never code or pickles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GgufConfig
from transformers.utils import logging as transformers_logging

from fleet_contract.spec import Dtype
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.load_error import LoadError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
FP8_CAPABILITY = (8, 9)
"""Least compute capability of a GPU with FP8 arithmetic (Ada, Hopper and later)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder; `gguf` is the name of the file where the weights are one."""

    folder: Path
    gguf: str | None
    config: dict[str, Any]

    @classmethod
    def find(cls, folder: Path) -> Checkpoint:
        """Raises LoadError that says what is missing."""
        if folder.is_file() and folder.suffix == ".gguf":
            return cls(folder.parent, folder.name, {})
        if any(folder.glob("*.safetensors")):
            config = read_object(folder / "config.json")
            if not config:
                raise LoadError(f"{folder} holds no config.json.", "Fetch the model again.")
            return cls(folder, None, config)
        files = sorted(folder.glob("*.gguf"))
        if len(files) == 1:
            return cls(folder, files[0].name, {})
        if files:
            names = ", ".join(path.name for path in files)
            raise LoadError(
                f"{folder} holds several GGUF files ({names}).", "Name one in `source`."
            )
        pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
        if pickles:
            raise LoadError(
                f"{folder} holds weights as pickles only ({pickles[0]}), which can run code.",
                "Use a revision with safetensors.",
            )
        raise LoadError(
            f"{folder} holds neither safetensors nor a GGUF file.",
            "Fetch the model with `modelfleet pull`.",
        )

    @property
    def stored_dtype(self) -> str | None:
        """Name of the torch dtype config.json gives for the weights."""
        text = self.config.get("text_config", {})
        named = self.config.get("dtype") or self.config.get("torch_dtype") or text.get("dtype")
        return named if isinstance(named, str) else None

    @property
    def source(self) -> dict[str, Any]:
        """Arguments of every `from_pretrained`: where to look, and that nothing is executed."""
        where = {"gguf_file": self.gguf} if self.gguf else {}
        return {"local_files_only": True, "trust_remote_code": False, **where}

    def load(
        self, auto_class: Any, runtime: Runtime, asked: Dtype, *, unused: tuple[str, ...] = ()
    ) -> Any:
        """The model, in evaluation mode on the device.

        Raises LoadError, also when tensors are missing, but for those whose name begins with one
        of `unused`; otherwise what transformers raises.
        """
        self._check_quantised(runtime.device, asked)
        transformers_logging.disable_progress_bar()
        how: dict[str, Any] = {"dtype": runtime.dtype, "output_loading_info": True}
        if self.gguf:
            how["quantization_config"] = GgufConfig(dequantize=True)
        else:
            how["use_safetensors"] = True
        if runtime.device.type != "cpu":
            how["device_map"] = {"": runtime.device}
        try:
            model, found = auto_class.from_pretrained(str(self.folder), **self.source, **how)
        except ImportError as error:
            raise LoadError(f"These weights need a package that is missing: {error}") from error
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(unused))
        if missing:  # transformers would go on with random numbers in their place
            raise LoadError(
                f"The weights lack {len(missing)} tensors of {type(model).__name__}, such as "
                f"{missing[0]!r}.",
                "They are incomplete or of another kind of model than `task` says.",
            )
        return model.eval().requires_grad_(False)

    def _check_quantised(self, device: torch.device, asked: Dtype) -> None:
        method = self.config.get("quantization_config", {}).get("quant_method")
        if method != "fp8":
            if asked is Dtype.FP8:
                raise LoadError("dtype is fp8; these weights are not.", "Use dtype auto.")
            return
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY:
            return
        raise LoadError(
            f"These weights are FP8, which {device.type} does not compute in here; it takes an "
            f"NVIDIA GPU of compute capability {FP8_CAPABILITY[0]}.{FP8_CAPABILITY[1]} or later.",
            "Use the repo without -FP8 in its name.",
        )
