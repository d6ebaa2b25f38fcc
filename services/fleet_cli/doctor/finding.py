"""A result of a check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """An `error` prevents `modelfleet up`; a `warning` makes it slower or may end it later."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is a short name, `remedy` what to do; empty where nothing is wrong."""

    check: str
    level: Level
    message: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields by name."""
        return asdict(self)
