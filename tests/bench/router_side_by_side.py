"""A stub server called directly, through this router and through other routers, in one run.

With `at once` the stub responds without delay and clients send continuously, which measures the
maximum rate of a router. With `paced` it takes a model's time, so that the router is not saturated,
which measures the latency that users notice. Added times are relative to a direct call.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stack
import uvloop
from pipe import MODEL, Request, Sample, chat, drive, until
from rivals import RIVALS, installed
from stack import Running

from fleet_contract.spec import ModelSpec

OURS = "modelfleet"
COLUMNS = ["way", "req/s", "first", "p50", "p99", "+p50", "+p99", "CPU us", "load us"]
"""Milliseconds; CPU of the router's and the load generator's processes for each request."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of load. Delays vary, so that clients do not send at the same time."""

    name: str
    clients: int
    stream: bool = False
    waits: tuple[int, int] = (0, 0)
    gap: int = 0

    def requests(self) -> list[Request]:
        draw = random.Random(7)
        waits = [draw.randint(*self.waits) for _ in range(997 if any(self.waits) else 1)]
        return [chat(stream=self.stream, wait=wait, gap=self.gap) for wait in waits]


SCENARIOS = (
    Scenario("chat at once, 1 client", 1),
    Scenario("chat at once, 32 clients", 32),
    Scenario("chat paced 30 to 70 ms, 32 clients", 32, waits=(30, 70)),
    Scenario("streams at once, 1 client", 1, stream=True),
    Scenario("streams at once, 32 clients", 32, stream=True),
    Scenario("streams paced 30 to 70 ms and 10 ms a piece, 32 clients", 32, stream=True,
             waits=(30, 70), gap=10),
)  # fmt: skip


@dataclass(slots=True)
class Measurements:
    """Measurements of one way in one scenario; CPU seconds of its processes and of the load's."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    own: float = 0.0
    load: float = 0.0

    def row(self, name: str, direct: Measurements) -> list[Any]:
        p50, p99 = self._percentiles()
        past50, past99 = direct._percentiles()
        number = len(self.samples)
        first = statistics.median(sample.first for sample in self.samples)
        return [
            name, number / self.seconds, first * 1e3, p50 * 1e3, p99 * 1e3,
            (p50 - past50) * 1e3, (p99 - past99) * 1e3, self.own / number * 1e6,
            self.load / number * 1e6,
        ]  # fmt: skip

    def _percentiles(self) -> tuple[float, float]:
        totals = sorted(sample.total for sample in self.samples)
        return statistics.median(totals), totals[int(len(totals) * 0.99)]


def cpu(group: int) -> float:
    """CPU seconds of all processes of a group so far."""
    spent = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            spent += int(fields[11]) + int(fields[12])
    return spent / TICKS


def measure(
    way: Running, stub: Running, scenario: Scenario, seconds: float, measurements: Measurements
) -> None:
    requests = scenario.requests()
    own, load = cpu(way.group), cpu(stub.group) + time.process_time()
    started = time.perf_counter()
    requests = until(started + seconds, requests)
    measurements.samples += uvloop.run(drive(way.url, requests, scenario.clients))
    measurements.seconds += time.perf_counter() - started
    measurements.own += cpu(way.group) - own
    measurements.load += cpu(stub.group) + time.process_time() - load


def run(ways: dict[str, Running], seconds: float, rounds: int) -> dict[str, list[list[Any]]]:
    """Rows by scenario, with all ways in turns, after a round of warm-up."""
    stub = ways["direct"]
    tables = {}
    for scenario in SCENARIOS:
        found = {name: Measurements() for name in ways}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                into = found[name] if turn else Measurements()
                measure(way, stub, scenario, seconds if turn else min(1.0, seconds), into)
        found["direct"].own = 0.0
        tables[scenario.name] = [
            measurements.row(name, found["direct"]) for name, measurements in found.items()
        ]
    return tables


def start(exit_stack: ExitStack, programs: dict[str, str]) -> dict[str, Running]:
    """Run the stub, our router and the rivals until `exit_stack` is closed."""
    stub = exit_stack.enter_context(stack.stub())
    spec = ModelSpec(model=MODEL, task="chat")
    ways = {"direct": stub, OURS: exit_stack.enter_context(stack.routing({stub.url: spec}))}
    for rival in RIVALS:
        if rival.name in programs:
            ways[rival.name] = exit_stack.enter_context(rival.start(programs[rival.name], stub.url))
    return ways


def find(names: Sequence[str], source: str | None) -> dict[str, str]:
    """The programs of these rivals, installed if missing; rivals that cannot be installed are
    skipped.
    """
    programs = {}
    for rival in RIVALS:
        if rival.name in names:
            try:
                programs[rival.name] = installed(rival, source)
            except subprocess.CalledProcessError as error:
                print(f"{rival.name} is skipped: {error}")
    return programs


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--seconds", type=float, default=3.0, help="of each way, load and round")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--rivals", default=",".join(rival.name for rival in RIVALS))
    parse.add_argument("--production-stack-source", help="a checkout, in place of its address")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    programs = find(options.rivals.split(","), options.production_stack_source)
    with ExitStack() as exit_stack:
        tables = run(start(exit_stack, programs), options.seconds, options.rounds)
    for name, rows in tables.items():
        stack.show(name, COLUMNS, rows, as_json=options.json)


if __name__ == "__main__":
    main()
