"""The figures of a run, computed from its samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fleet_bench.load import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds; percentiles by nearest rank."""

    p50: float
    p90: float
    p99: float
    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Rates are per second of the whole run and count valid responses only.

    `decode_tokens_per_second` is the speed of one stream after its first token. Figures that a
    workload does not have are None.
    """

    requests: int
    good: int
    errors: dict[str, int]
    seconds: float
    requests_per_second: float
    latency: Spread | None
    first_token: Spread | None
    between_tokens: Spread | None
    tokens: int
    tokens_per_second: float | None
    decode_tokens_per_second: float | None
    prompt_tokens: int
    items_per_second: float | None
    times_real_time: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(run: Run) -> Summary:
    """The figures of a run."""
    good = [(sample, sample.stats) for sample in run.samples if sample.stats is not None]
    all_stats = [stats for _, stats in good]
    tokens = sum(stats.tokens for stats in all_stats)
    items = sum(stats.items for stats in all_stats)
    audio = sum(stats.audio_seconds for stats in all_stats)
    return Summary(
        requests=len(run.samples),
        good=len(good),
        errors=dict(Counter(sample.error for sample in run.samples if sample.error is not None)),
        seconds=run.seconds,
        requests_per_second=len(good) / run.seconds,
        latency=spread([sample.seconds for sample, _ in good]),
        first_token=spread([stats.first for stats in all_stats if stats.first is not None]),
        between_tokens=spread([gap for stats in all_stats for gap in stats.gaps]),
        tokens=tokens,
        tokens_per_second=tokens / run.seconds if tokens else None,
        decode_tokens_per_second=_decode_speed(
            [
                (stats.tokens - 1, sample.seconds - stats.first)
                for sample, stats in good
                if stats.first is not None and stats.tokens > 1
            ]
        ),
        prompt_tokens=sum(stats.prompt_tokens for stats in all_stats),
        items_per_second=items / run.seconds if items else None,
        times_real_time=audio / run.seconds if audio else None,
    )


def spread(values: Sequence[float]) -> Spread | None:
    """Percentiles, mean and maximum; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    p50, p90, p99 = (_rank(ordered, part) for part in (0.5, 0.9, 0.99))
    return Spread(p50, p90, p99, mean, ordered[-1])


def _rank(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _decode_speed(streams: Sequence[tuple[int, float]]) -> float | None:
    seconds = math.fsum(elapsed for _, elapsed in streams)
    return sum(tokens for tokens, _ in streams) / seconds if seconds > 0 else None
