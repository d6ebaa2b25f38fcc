"""Finds the chat model's file for OpenVINO GenAI, and keeps an IR next to a GGUF.

OpenVINO rebuilds the graph of a GGUF at every start; the IR written at the first start loads in
about half the time.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from fleet_prepare.readers import IR_FILES, IR_TOKENIZERS
from fleet_server.load_error import LoadError
from fleet_weights.hub import cache

logger = logging.getLogger(__name__)

IR_FOLDER = "openvino-ir"


def is_ir(folder: Path) -> bool:
    """Whether the folder holds all files of an exported chat model."""
    return all((folder / name).is_file() for name in IR_FILES) and any(
        (folder / name).is_file() for name in IR_TOKENIZERS
    )


def gguf_files(folder: Path) -> list[Path]:
    """GGUF files of the folder, or the file itself if `folder` is one."""
    if folder.is_file():
        return [folder] if folder.suffix == ".gguf" else []
    return sorted(folder.glob("*.gguf"))


def find(folder: Path) -> Path:
    """The IR folder or GGUF file to load. Raises LoadError."""
    if folder.is_dir():
        for candidate in (folder, folder / IR_FOLDER):
            if is_ir(candidate):
                return candidate
    files = gguf_files(folder)
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(path.name for path in files)
        raise LoadError(
            f"{folder} holds several GGUF files ({names}).", "Select one with `source`."
        )
    raise LoadError(
        f"{folder} holds neither OpenVINO IR nor a GGUF file.",
        "Set `source` to other weights, or leave `engine` at auto.",
    )


class IrWriter:
    """Lets OpenVINO write its IR into a staging folder, which is then moved into place atomically.

    OpenVINO writes next to the GGUF it loads, so the staging folder holds a link to it.
    """

    def __init__(self, gguf: Path) -> None:
        self._target = gguf.parent / IR_FOLDER
        self._staging = Path(tempfile.mkdtemp(prefix=f".{IR_FOLDER}-", dir=gguf.parent))
        self.gguf = self._staging / gguf.name
        self.gguf.symlink_to(gguf.resolve())

    @classmethod
    def create(cls, gguf: Path) -> IrWriter | None:
        """A writer, or None if the folder is not writable (a read-only volume, a full disk) or
        belongs to the cache of huggingface_hub."""
        if cache.is_inside(gguf) or not os.access(gguf.parent, os.W_OK):
            return None
        try:
            return cls(gguf)
        except OSError as error:
            logger.warning("cannot keep the IR of %s: %s", gguf.name, error)
            return None

    def commit(self) -> None:
        """Move the IR into place, unless another process did so first."""
        self.gguf.unlink(missing_ok=True)
        if is_ir(self._staging) and not self._target.exists():
            try:
                self._staging.chmod(0o755)
                self._staging.rename(self._target)
            except OSError as error:
                logger.warning("cannot keep the IR: %s", error)
        self.abandon()

    def abandon(self) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
