"""Latency of embeddings with a real model, through the router and directly.

p50 and p99 in alternating rounds. Client, router and server share the machine. The router's own
cost is measured by router_side_by_side.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import stack
import uvloop
from pipe import Request, drive, post

from fleet_bench.summary import spread
from fleet_bench.words import text

PATH = "/v1/embeddings"


def requests(first: int, number: int) -> list[Request]:
    fields = {"model": stack.EMBEDDING, "encoding_format": "base64"}
    return [
        Request(post(PATH, json.dumps({**fields, "input": text(at, 24)}).encode()))
        for at in range(first, first + number)
    ]


async def compare(direct: str, routed: str, clients: int, number: int, rounds: int) -> list[Any]:
    """Milliseconds: p50 and p99 of each way, and the median difference over the rounds."""
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
            if turn:  # the first round is a warm-up
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
    parse.add_argument("--requests", type=int, default=500, help="of each round")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    spec = stack.spec_of(stack.EMBEDDING)
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        for clients in (1, 32):
            work = compare(direct, routed, clients, options.requests, options.rounds)
            rows.append([f"MiniLM, {clients} clients", *uvloop.run(work)])
    columns = ["before", "direct p50 ms", "direct p99 ms", "routed p50 ms", "routed p99 ms",
               "added p50 ms"]  # fmt: skip
    stack.show("The router's overhead", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
