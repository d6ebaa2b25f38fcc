"""What the router adds to a request: p50 and p99 through it and past it, in alternating rounds.

Before a stub that answers at once it is the router's own time; before real embeddings it is what a
user notices. Client, router and server share the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stack
import uvloop
from pipe import Ask, drive, post

from fleet_bench.summary import spread
from fleet_bench.words import text

PATH = "/v1/embeddings"


def requests(first: int, number: int) -> list[Ask]:
    asked = {"model": stack.EMBEDDING, "encoding_format": "base64"}
    return [
        Ask(post(PATH, json.dumps({**asked, "input": text(at, 24)}).encode()))
        for at in range(first, first + number)
    ]


@contextmanager
def stub() -> Iterator[str]:
    with stack.stub() as running:
        yield running.url


async def compare(direct: str, routed: str, clients: int, number: int, rounds: int) -> list[Any]:
    """Milliseconds: p50 and p99 of each way, and the median over rounds of the difference."""
    found: dict[str, list[float]] = {direct: [], routed: []}
    differences = []
    first = 0
    for turn in range(rounds + 1):
        middles = {}
        for url in (direct, routed) if turn % 2 else (routed, direct):
            sent = requests(first, number)
            seen = [sample.total for sample in await drive(url, iter(sent), clients)]
            first += number
            middles[url] = statistics.median(seen)
            if turn:  # the first round warms up
                found[url] += seen
        if turn:
            differences.append(middles[routed] - middles[direct])
    past, through = spread(found[direct]), spread(found[routed])
    assert past is not None
    assert through is not None
    added = statistics.median(differences)
    return [1000 * value for value in (past.p50, past.p99, through.p50, through.p99, added)]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--requests", type=int, default=2000, help="of each round")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--json", action="store_true")
    asked = parse.parse_args()
    spec = stack.spec_of(stack.EMBEDDING)
    rows = []
    for name, target in (("stub", stub()), ("MiniLM", stack.server(spec))):
        with target as direct, stack.router({direct: spec}) as routed:
            for clients in (1, 32):
                number = asked.requests if name == "stub" else max(200, asked.requests // 4)
                figures = uvloop.run(compare(direct, routed, clients, number, asked.rounds))
                rows.append([f"{name}, {clients} clients", *figures])
    columns = ["before", "direct p50 ms", "direct p99 ms", "routed p50 ms", "routed p99 ms",
               "added p50 ms"]  # fmt: skip
    stack.show("The router's overhead", columns, rows, as_json=asked.json)


if __name__ == "__main__":
    main()
