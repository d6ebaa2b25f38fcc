"""Facts about the agreement of both sides' outputs, by task."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Sequence

from fleet_bench.compare.results.agreement import (
    Vector,
    cosine,
    equal_share,
    first_difference,
    word_error_rate,
    words,
)
from fleet_bench.compare.results.outcome import Fact


def of_sequences(
    unit: str, a: Sequence[Sequence[Hashable]], b: Sequence[Sequence[Hashable]]
) -> list[Fact]:
    """Facts about greedy completions as sequences of `unit` (`tokens` or `words`)."""
    pairs = list(zip(a, b, strict=True))
    differences = [first_difference(*pair) for pair in pairs]
    parted = [index for index in differences if index is not None]
    equal = len(pairs) - len(parted)
    share = statistics.mean(equal_share(*pair) for pair in pairs)
    found = [
        Fact("equal outputs", equal / len(pairs), f"{equal} of {len(pairs)}"),
        Fact(f"equal leading {unit}", share, f"{share:.1%}"),
    ]
    if parted:
        median = statistics.median(parted)
        found.append(Fact(f"first different {unit[:-1]}, median index", median, f"{median:g}"))
    return found


def of_vectors(a: Sequence[Vector], b: Sequence[Vector]) -> list[Fact]:
    """Facts about embeddings. Raises ValueError for vectors of different dimensions."""
    cosines = [cosine(*pair) for pair in zip(a, b, strict=True)]
    return [
        Fact(f"cosine, {name}", value, f"{value:.6f}")
        for name, value in (("minimum", min(cosines)), ("mean", statistics.mean(cosines)))
    ]


def of_transcripts(a: Sequence[str], b: Sequence[str]) -> list[Fact]:
    """Facts about transcripts, with A as the reference."""
    pairs = list(zip(a, b, strict=True))
    rate = word_error_rate(pairs)
    equal = sum(words(one) == words(other) for one, other in pairs)
    return [
        Fact("word error rate against A", rate, f"{rate:.1%}"),
        Fact("equal transcripts", equal / len(pairs), f"{equal} of {len(pairs)}"),
    ]
