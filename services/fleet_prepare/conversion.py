"""What every conversion takes: a folder to read, an empty folder to fill, progress and a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion to run.

    `source` holds the repository's files and is only read. `target` is an empty folder; whoever
    runs the conversion publishes it under its final name once `convert` returns. `quantization` is
    a number format the conversion knows. `progress` takes bytes of weights read so far and in all;
    `check` raises where the conversion is to stop and is called at least once for each tensor.
    """

    source: Path
    target: Path
    quantization: str
    progress: Callable[[int, int | None], None]
    check: Callable[[], None]
    options: Mapping[str, str]


class Converter(Protocol):
    """A module's `convert`. Raises WeightsError that names the file or tensor at fault."""

    def __call__(self, conversion: Conversion) -> None: ...
