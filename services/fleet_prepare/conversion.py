"""The arguments of every conversion: source and target folder, format, progress, cancellation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion to run.

    `source` holds the repository's files and is only read. `target` is an empty folder, published
    under its final name after `convert` has returned. `quantization` is a number format of the
    conversion. `progress` takes bytes of weights read so far and in all; `check` raises if the
    conversion has been cancelled and is called at least once for each tensor.
    """

    source: Path
    target: Path
    quantization: str
    progress: Callable[[int, int | None], None]
    check: Callable[[], None]
    options: Mapping[str, str]
