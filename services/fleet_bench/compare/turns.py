"""Rounds in turns, A then B, so that what else the machine does bears on both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fleet_bench.compare.answers import Asker, chat_answers, tokenized, transcripts, vectors
from fleet_bench.compare.cases import Cases
from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.load import Load, workload
from fleet_bench.compare.results.facts import of_sequences, of_transcripts, of_vectors
from fleet_bench.compare.results.outcome import Fact, Rounds, Row, rows
from fleet_bench.compare.sides.memory import Peak, watched
from fleet_bench.compare.sides.side import Side
from fleet_bench.http import client
from fleet_bench.load import run
from fleet_bench.sample import Failed
from fleet_bench.summary import Summary, summarise

MIB = 1024 * 1024
WARMUP_FIRST = 500_000
"""Warm-up requests have numbers, and so texts, that no round has."""

Tick = Callable[[str], None]


class Pair(NamedTuple):
    a: Side
    b: Side


async def measure(pair: Pair, task: str, cases: Cases, load: Load, tick: Tick) -> list[Row]:
    """Figures of both sides over `load.rounds`; `tick` gets what begins. Raises CannotCompare."""
    for side in pair:
        tick(f"warm-up of {side.name}")
        if load.warmup:
            await _round(side, task, cases, load, WARMUP_FIRST, load.warmup)
    found: tuple[list[Summary], list[Summary]] = ([], [])
    peaks = (Peak(), Peak())
    for number in range(load.rounds):
        for side, summaries, peak in zip(pair, found, peaks, strict=True):
            tick(f"round {number + 1} of {load.rounds}, {side.name}")
            async with watched(side.pid, peak):
                first = number * load.requests
                summaries.append(await _round(side, task, cases, load, first, load.requests))
    measured = rows(*found)
    if all(peak.most for peak in peaks):
        memory = [Rounds((peak.most / MIB,)) for peak in peaks]
        measured.append(Row("memory, most resident", "MiB", False, *memory))
    return measured


async def agree(pair: Pair, task: str, cases: Cases, load: Load, tick: Tick) -> list[Fact]:
    """How answers agree; asked one by one, not timed. Raises CannotCompare."""
    plans = [side.plan(1, 1, load.timeout) for side in pair]
    async with client(plans[0]) as http_a, client(plans[1]) as http_b:
        askers = [
            Asker(http, plan.root, side.model)
            for http, plan, side in zip((http_a, http_b), plans, pair, strict=True)
        ]
        tick("agreement of answers")
        try:
            if task == "chat":
                texts = [await chat_answers(asker, cases, load.max_tokens) for asker in askers]
                if (tokens := await tokenized(askers, texts)) is not None:
                    return of_sequences("tokens", *tokens)
                return of_sequences("words", *([text.split() for text in side] for side in texts))
            if task == "embedding":
                return of_vectors(*[await vectors(asker, cases) for asker in askers])
            return of_transcripts(
                *[await transcripts(asker, cases, load.language) for asker in askers]
            )
        except Failed as error:
            raise CannotCompare(f"A request whose answer is compared failed: {error}.") from None
        except ValueError as error:
            raise CannotCompare(f"The answers cannot be compared: {error}.") from None


async def _round(
    side: Side, task: str, cases: Cases, load: Load, first: int, requests: int
) -> Summary:
    plan = side.plan(requests, load.concurrency, load.timeout)
    summary = summarise(await run(plan, workload(task, plan, cases, load, first)))
    if summary.errors:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in summary.errors.items())
        raise CannotCompare(
            f"{side.name} failed {summary.requests - summary.good} of {summary.requests} "
            f"requests: {reasons}.",
            "Lower --concurrency or raise --timeout, and look at the server's log.",
        )
    return summary
