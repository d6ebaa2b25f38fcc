"""Rounds in turns, A then B, so that other load of the machine affects both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fleet_bench.compare.cases import Cases
from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.load import RequestLoad, workload
from fleet_bench.compare.outputs import ModelClient, chat_outputs, tokenized, transcripts, vectors
from fleet_bench.compare.results.facts import of_sequences, of_transcripts, of_vectors
from fleet_bench.compare.results.outcome import ComparedFigure, Fact, Rounds, rows
from fleet_bench.compare.sides.memory import Peak, watched
from fleet_bench.compare.sides.side import Side
from fleet_bench.http import client
from fleet_bench.load import run
from fleet_bench.sample import Failed
from fleet_bench.summary import Summary, summarise

MIB = 1024 * 1024
WARMUP_FIRST = 500_000
"""Number of the first warm-up request, so that no round has its texts."""

_STATUS = re.compile(r"HTTP (\d{3})")
OVERLOAD = (408, 429)
"""Client errors that fewer requests at a time avoid."""

Tick = Callable[[str], None]


class Pair(NamedTuple):
    a: Side
    b: Side


async def measure(
    pair: Pair, task: str, cases: Cases, load: RequestLoad, tick: Tick
) -> list[ComparedFigure]:
    """Figures of both sides over `load.rounds`; `tick` gets each step. Raises CannotCompare."""
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
        measured.append(ComparedFigure("peak memory", "MiB", False, *memory))
    return measured


async def agree(pair: Pair, task: str, cases: Cases, load: RequestLoad, tick: Tick) -> list[Fact]:
    """Agreement of the outputs of sequential, untimed requests. Raises CannotCompare."""
    both_settings = [side.settings(1, 1, load.timeout) for side in pair]
    async with client(both_settings[0]) as http_a, client(both_settings[1]) as http_b:
        clients = [
            ModelClient(http, settings.root, side.model)
            for http, settings, side in zip((http_a, http_b), both_settings, pair, strict=True)
        ]
        tick("comparing outputs")
        try:
            if task == "chat":
                texts = [await chat_outputs(client, cases, load.max_tokens) for client in clients]
                if (tokens := await tokenized(clients, texts)) is not None:
                    return of_sequences("tokens", *tokens)
                return of_sequences("words", *([text.split() for text in side] for side in texts))
            if task == "embedding":
                return of_vectors(*[await vectors(client, cases) for client in clients])
            return of_transcripts(
                *[await transcripts(client, cases, load.language) for client in clients]
            )
        except Failed as error:
            raise CannotCompare(f"A request to compare outputs failed: {error}.") from None
        except ValueError as error:
            raise CannotCompare(f"The outputs cannot be compared: {error}.") from None


def failure_hint(errors: Iterable[str]) -> str:
    """What to do about failed requests with these reasons, such as `HTTP 404 model_not_found`."""
    statuses = {int(found[1]) for reason in errors if (found := _STATUS.match(reason))}
    if statuses & {401, 403}:
        return "Set the variable that --api-key-env names to a valid key."
    if 404 in statuses:
        return "Check the model's id (--models for A, --b-model for B) and the address."
    if any(400 <= status < 500 and status not in OVERLOAD for status in statuses):
        return "The server refuses these requests; its log has the reason."
    return "Lower --concurrency or raise --timeout, and check the server's log."


async def _round(
    side: Side, task: str, cases: Cases, load: RequestLoad, first: int, requests: int
) -> Summary:
    settings = side.settings(requests, load.concurrency, load.timeout)
    summary = summarise(await run(settings, workload(task, settings, cases, load, first)))
    if summary.errors:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in summary.errors.items())
        raise CannotCompare(
            f"{side.name} failed {summary.requests - summary.good} of {summary.requests} "
            f"requests: {reasons}.",
            failure_hint(summary.errors),
        )
    return summary
