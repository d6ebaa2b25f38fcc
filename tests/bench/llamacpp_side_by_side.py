"""SmolLM2 with `engine: llamacpp` of this project beside llama.cpp's own server, in turns.

llama.cpp's server is that of xllamacpp in a process of its own, which listens on TCP, with the same
file, cache, sequences and threads. Needs the llamacpp extra.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stack

from fleet_bench.chat import Chat
from fleet_bench.summary import Summary, summarise
from fleet_contract.spec import Engine, ModelSpec

# The engine is imported before xllamacpp: it sets how libgomp's threads wait, for both sides.
SERVE = """
import json, sys, time
from pathlib import Path
from fleet_server.engines.llamacpp import chat
import xllamacpp
from fleet_contract.spec import ModelSpec
from fleet_prepare import gguf_head
from fleet_server.engines.llamacpp.cache import KvCache
path, port, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec = ModelSpec.model_validate(json.loads(sys.argv[4]))
at_once = chat.sequences(spec)
cache = KvCache.fit(gguf_head.metadata(path), spec, at_once)
params = chat.parameters_of(path, spec, cache, at_once, threads)
params.hostnames, params.port, params.verbosity = ["127.0.0.1"], port, -1
params.sampling.generation_prompt = ""  # which is for the engine's bounds on reasoning
server = xllamacpp.Server(params)
time.sleep(86400)
"""


@contextmanager
def theirs(path: Path, spec: ModelSpec, threads: int) -> Iterator[str]:
    """llama.cpp's own server; its address."""
    port = stack.free_port()
    fields = json.dumps(spec.to_wire())
    command = [sys.executable, "-c", SERVE, str(path), str(port), str(threads), fields]
    with stack.process(command):
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/health")
        yield url


async def measure(url: str, at_once: int, each: int, words: int, first: int) -> Summary:
    load = stack.plan(url, stack.CHAT, at_once * each, at_once)
    workload = Chat(load, None, words=words, max_tokens=stack.NEW_TOKENS, temperature=0)
    return summarise(await stack.measured(load, workload, first))


def compare(options: argparse.Namespace) -> list[list[Any]]:
    """A row for each level."""
    spec = stack.spec_of(stack.CHAT).model_copy(update={"engine": Engine.LLAMACPP})
    (path,) = stack.weights(stack.spec_of(stack.CHAT)).glob("*.gguf")
    levels = [int(text) for text in options.levels.split(",")]
    found: dict[tuple[str, int], list[Summary]] = {}
    with (
        stack.server(spec) as own,
        theirs(path, spec, len(os.sched_getaffinity(0))) as other,
    ):
        servers = [("ours", own), ("theirs", other)]
        number = 0
        for turn in range(options.rounds + 1):  # the first one is the warm-up
            for at_once in levels:
                for name, url in servers if turn % 2 else reversed(servers):
                    number += 1
                    each = options.each if turn else 1
                    summary = asyncio.run(
                        measure(url, at_once, each, options.words, 100_000 * number)
                    )
                    if turn:
                        found.setdefault((name, at_once), []).append(summary)
    return [_row(at_once, found["ours", at_once], found["theirs", at_once]) for at_once in levels]


def _row(at_once: int, ours: list[Summary], theirs: list[Summary]) -> list[Any]:
    columns: list[Any] = [f"{at_once} at once"]
    for value in (_speed, _first):
        pairs = [(value(own), value(other)) for own, other in zip(ours, theirs, strict=True)]
        own, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(own / other for own, other in pairs)
        columns += [round(own, 1), round(other, 1), f"{ratio:.2f}"]
    return columns


def _speed(found: Summary) -> float:
    return found.tokens_per_second or 0.0


def _first(found: Summary) -> float:
    return 1000 * found.first_token.p50 if found.first_token is not None else 0.0


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--levels", default="1,4,16", help="concurrent clients")
    parse.add_argument("--each", type=int, default=2, help="responses for each client in a round")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--words", type=int, default=20, help="words of a prompt")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    columns = [
        "load", "tokens/s, ours", "tokens/s, theirs", "tokens/s, ratio",
        "first token ms, ours", "first token ms, theirs", "first token, ratio",
    ]  # fmt: skip
    title = "engine llamacpp and llama.cpp's own server (median of the rounds)"
    stack.show(title, columns, compare(options), as_json=options.json)


if __name__ == "__main__":
    main()
