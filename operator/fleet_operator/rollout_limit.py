"""The maximum number of concurrent rollouts: a number, or a percentage of the models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` rollouts at a time, or `percent` (0 to 1) of the models, at least one.

    With neither there is no limit.
    """

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`3`, `25%`, or `0` for no limit. Raises ValueError."""
        number = text.strip().removesuffix("%")
        if not number.isascii() or not number.isdigit():
            raise ValueError(f"{text!r} is neither a number nor a percentage")
        if text.strip().endswith("%"):
            if not 0 < int(number) <= 100:
                raise ValueError(f"{text!r} is not between 1% and 100%")
            return cls(percent=int(number) / 100)
        return cls(count=int(number) or None)

    @property
    def is_none(self) -> bool:
        return self.count is None and self.percent is None

    def of_shard(self, index: int, total: int) -> Self:
        """The part of a limit that shard `index` of `total` has, at least one.

        A percentage is one of the models of the shard already.
        """
        if self.count is None:
            return self
        more = 1 if index < self.count % total else 0
        return replace(self, count=max(1, self.count // total + more))

    def of(self, models: int) -> int:
        """The limit in a fleet of `models` models; without a limit, all of them."""
        if self.percent is not None:
            return max(1, int(models * self.percent))
        return models if self.count is None else self.count
