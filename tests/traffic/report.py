"""Summarizes outcomes for assertions and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from traffic.outcome import Mark, Outcome

SHOWN = 20
"""Number of failures listed one by one."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Requests of one kind in a period. Quantiles are seconds of valid responses, by nearest rank;
    None without any.
    """

    requests: int
    failed: int
    truncated: int
    p50: float | None
    p90: float | None
    p99: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """`failed` counts all failed requests, `truncated` those that started with status 200 and broke
    off.

    `slices` has an entry for every mark, and `whole` for the whole time; each has the kinds, and
    `all`. `reasons` counts failures by reason; `failures` are the first ones.
    """

    requests: int
    failed: int
    truncated: int
    seconds: float
    reasons: dict[str, int]
    failures: list[Outcome]
    slices: dict[str, dict[str, Slice]]
    endpoints: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def clean(self) -> bool:
        """Whether requests were sent and all had valid responses."""
        return self.requests > 0 and self.failed == 0

    def __str__(self) -> str:
        lines = [f"{self.requests} requests, {self.failed} failed, {self.truncated} truncated"]
        lines += [f"  {number} x {reason}" for reason, number in self.reasons.items()]
        for one in self.failures:
            lines.append(f"  {one.kind} {one.started:.2f}-{one.ended:.2f} s"
                         f" {one.endpoint or '?'} {one.request_id}: {one.failure}")  # fmt: skip
        return "\n".join(lines)


def report(outcomes: Sequence[Outcome], marks: Sequence[Mark]) -> Report:
    """Summarize all requests that have ended."""
    bad = [one for one in outcomes if one.failure is not None]
    named = {mark.name: [one for one in outcomes if mark.contains(one)] for mark in marks}
    return Report(
        requests=len(outcomes),
        failed=len(bad),
        truncated=sum(one.truncated for one in bad),
        seconds=max((one.ended for one in outcomes), default=0.0),
        reasons=dict(Counter(str(one.failure) for one in bad).most_common(SHOWN)),
        failures=bad[:SHOWN],
        slices={name: _kinds(some) for name, some in {"whole": outcomes, **named}.items()},
        endpoints=dict(Counter(one.endpoint for one in outcomes if one.endpoint)),
    )


def _kinds(outcomes: Sequence[Outcome]) -> dict[str, Slice]:
    kinds = sorted({one.kind for one in outcomes})
    found = {kind: _slice([one for one in outcomes if one.kind == kind]) for kind in kinds}
    return {"all": _slice(outcomes), **found}


def _slice(outcomes: Sequence[Outcome]) -> Slice:
    good = sorted(one.ended - one.started for one in outcomes if one.failure is None)
    p50, p90, p99, maximum = (_rank(good, part) for part in (0.5, 0.9, 0.99, 1.0))
    return Slice(
        requests=len(outcomes),
        failed=len(outcomes) - len(good),
        truncated=sum(one.truncated for one in outcomes),
        p50=p50, p90=p90, p99=p99, maximum=maximum,
    )  # fmt: skip


def _rank(ordered: Sequence[float], part: float) -> float | None:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None
