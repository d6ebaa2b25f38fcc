"""Effect of other models on the same machine on chat, by the engines' numbers of threads.

The demo fleet's three servers behind the router: chat alone, then with continuous requests for
embeddings, speech or both; once with all CPUs for every engine, once with shares.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lean
import orjson
import stack
import uvloop
from in_process import STARTS, chat_bodies, embedding_bodies, tokens_of

from fleet_contract.cpus import available_cpus

BATCH = 32
CHATS = 4
BOUNDARY = "e64c1f"
MIXTURES = ("c", "e", "s", "ce", "cs", "ces")
"""Letters of chat, embeddings and speech."""


def until(deadline: float, bodies: Iterator[bytes]) -> Iterator[bytes]:
    """The bodies sent before `deadline`, in seconds of time.perf_counter."""
    for body in bodies:
        if time.perf_counter() >= deadline:
            return
        yield body


def recordings(speech: bytes) -> Iterator[bytes]:
    """The same form repeatedly: speech is not cached."""
    form = (
        f"--{BOUNDARY}\r\ncontent-disposition: form-data; name=model\r\n\r\n{stack.SPEECH}\r\n"
        f"--{BOUNDARY}\r\ncontent-disposition: form-data; name=response_format\r\n\r\n"
        f"verbose_json\r\n--{BOUNDARY}\r\n"
        f'content-disposition: form-data; name="file"; filename="speech.wav"\r\n\r\n'
    ).encode()
    while True:
        yield form + speech + f"\r\n--{BOUNDARY}--\r\n".encode()


async def load(url: str, tasks: str, seconds: float, speech: bytes) -> dict[str, float]:
    """Rates of tokens, inputs and seconds of speech, for those of `tasks` (letters c, e, s)."""
    deadline = time.perf_counter() + seconds

    async def post(path: str, bodies: Iterator[bytes], clients: int, kind: str) -> lean.Exchange:
        return await lean.post_all(url, path, until(deadline, bodies), clients, kind)

    form = f"multipart/form-data; boundary={BOUNDARY}"
    calls = {
        "c": ("/v1/chat/completions", chat_bodies(next(STARTS), 10_000), CHATS, "application/json"),
        "e": ("/v1/embeddings", embedding_bodies(next(STARTS), 100_000, BATCH), 1,
              "application/json"),
        "s": ("/v1/audio/transcriptions", recordings(speech), 1, form),
    }  # fmt: skip
    found = await asyncio.gather(*(post(*calls[task]) for task in tasks))
    done = {
        "c": lambda answer: tokens_of(answer),
        "e": lambda answer: BATCH,
        "s": lambda answer: float(orjson.loads(answer)["duration"]),
    }
    return {
        task: sum(map(done[task], exchange.answers)) / exchange.seconds
        for task, exchange in zip(tasks, found, strict=True)
    }


def fleet(started: ExitStack, shares: tuple[int, ...]) -> str:
    """A router in front of servers with these threads for chat, embeddings and speech."""
    specs = [stack.spec_of(name) for name in (stack.CHAT, stack.EMBEDDING, stack.SPEECH)]
    urls = [
        started.enter_context(stack.server(spec, {"MODELFLEET_THREADS": str(threads)}))
        for spec, threads in zip(specs, shares, strict=True)
    ]
    return started.enter_context(stack.router(dict(zip(urls, specs, strict=True))))


def rows(
    wanted: list[tuple[int, ...]], rounds: int, seconds: float, speech: bytes
) -> list[list[Any]]:
    """Median rates of each fleet with each mixture; the fleets are measured in turns, because the
    speed of a machine varies.
    """
    found: dict[tuple[str, tuple[int, ...]], list[dict[str, float]]] = {}
    with ExitStack() as started:
        urls = {shares: fleet(started, shares) for shares in wanted}
        for url in urls.values():
            uvloop.run(load(url, "ces", 2, speech))
        for _ in range(rounds):
            for tasks in MIXTURES:
                for shares, url in urls.items():
                    rates = uvloop.run(load(url, tasks, seconds, speech))
                    found.setdefault((tasks, shares), []).append(rates)
    return [
        [tasks, str(shares), *(
            statistics.median(rates[task] for rates in runs) if task in tasks else ""
            for task in "ces"
        )]
        for (tasks, shares), runs in found.items()
    ]  # fmt: skip


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("speech", type=Path, help="a recording, WAV or any other format")
    parse.add_argument("--seconds", type=float, default=5, help="of each mixture")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--shares", nargs="*", help="threads of chat, embeddings, speech: 2,1,1")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    cpus = available_cpus()
    part = max(1, cpus // 2)
    wanted: list[tuple[int, ...]] = [
        tuple(map(int, text.split(","))) for text in options.shares or ()
    ] or [(cpus, cpus, cpus), (cpus, part, part), (part, part, part)]
    found = rows(wanted, options.rounds, options.seconds, options.speech.read_bytes())
    columns = ["requested", "threads c, e, s", "chat tokens/s", "embedding inputs/s",
               "speech seconds/s"]  # fmt: skip
    stack.show("Concurrent engines", columns, found, as_json=options.json)


if __name__ == "__main__":
    main()
