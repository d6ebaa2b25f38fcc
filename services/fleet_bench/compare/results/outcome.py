"""The outcome of a comparison: figures of both sides over the rounds, agreement of outputs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_bench.summary import Spread, Summary


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a round; `more_is_better` sets the direction of the ratio."""

    name: str
    unit: str
    more_is_better: bool
    of: Callable[[Summary], float | None]


def _p50_ms(spread: Spread | None) -> float | None:
    return None if spread is None else 1000 * spread.p50


FIGURES = (
    Figure("tokens generated", "/s", True, lambda run: run.tokens_per_second),
    Figure("tokens of one stream", "/s", True, lambda run: run.decode_tokens_per_second),
    Figure("first token, p50", "ms", False, lambda run: _p50_ms(run.first_token)),
    Figure("inputs embedded", "/s", True, lambda run: run.items_per_second),
    Figure("speech", "x real time", True, lambda run: run.times_real_time),
    Figure("latency, p50", "ms", False, lambda run: _p50_ms(run.latency)),
)


@dataclass(frozen=True, slots=True)
class Rounds:
    """The value of one side in each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "least": min(self.values),
            "most": max(self.values),
            "rounds": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """A figure of both sides."""

    name: str
    unit: str
    more_is_better: bool
    a: Rounds
    b: Rounds

    @property
    def ratio(self) -> float | None:
        """How many times better B is: the median of the ratios of all rounds.

        Both sides of a round are measured in succession, so that other load of the machine affects
        both. None where a value is 0.
        """
        pairs = list(zip(self.a.values, self.b.values, strict=True))
        if any(value <= 0 for pair in pairs for value in pair):
            return None
        return statistics.median(b / a if self.more_is_better else a / b for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about the agreement of outputs, such as `equal outputs`: `7 of 8`."""

    name: str
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The comparison of one model. `a` and `b` name the sides."""

    model: str
    task: str
    a: str
    b: str
    requests: int
    concurrency: int
    rows: tuple[ComparedFigure, ...]
    agreement: tuple[Fact, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "task": self.task,
            "a": self.a,
            "b": self.b,
            "requests": self.requests,
            "concurrency": self.concurrency,
            "figures": [
                {
                    "name": row.name, "unit": row.unit, "more_is_better": row.more_is_better,
                    "a": row.a.as_json(), "b": row.b.as_json(), "ratio": row.ratio,
                }
                for row in self.rows
            ],
            "agreement": [
                {"name": fact.name, "value": fact.value, "text": fact.text}
                for fact in self.agreement
            ],
        }  # fmt: skip


def rows(a: Sequence[Summary], b: Sequence[Summary]) -> list[ComparedFigure]:
    """The figures that are known in every round of both sides."""
    found: list[ComparedFigure] = []
    for figure in FIGURES:
        pair: list[Rounds] = []
        for side in (a, b):
            values = [value for run in side if (value := figure.of(run)) is not None]
            if values and len(values) == len(side):
                pair.append(Rounds(tuple(values)))
        if len(pair) == 2:
            found.append(ComparedFigure(figure.name, figure.unit, figure.more_is_better, *pair))
    return found
