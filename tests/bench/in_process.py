"""How much of an engine's speed is left in process, through its server and through the router.

The same distinct prompts at every level, none twice at one engine. Client, router and server share
the machine with the engine, as they do on a laptop.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import time
from collections.abc import Iterator
from typing import Any

import stack

from fleet_bench.chat import Chat
from fleet_bench.embeddings import Embeddings
from fleet_bench.words import text
from fleet_contract.cpus import available_cpus

STARTS: Iterator[int] = iter(range(0, 10**9, 100_000))


def chat_engine(concurrencies: list[int], each: int) -> dict[int, float]:
    """Tokens per second of the engine alone, by number of answers at once."""
    from fleet_server.engines.openvino.chat import OpenVinoChat
    from fleet_server.protocols import Sampling, Step

    spec = stack.spec_of(stack.CHAT)
    model = OpenVinoChat(spec, stack.weights(spec), available_cpus())
    sampling = Sampling(max_tokens=stack.NEW_TOKENS, temperature=0)

    def run(number: int, at_once: int) -> float:
        ends: queue.Queue[Step] = queue.Queue()
        written = 0

        def emit(step: Step) -> None:
            nonlocal written
            written += len(step.token_ids)
            if step.finish is not None or step.error is not None:
                ends.put(step)

        first = next(STARTS)
        contents = (f"Tell a long story about: {text(first + at, 20)}" for at in range(number))
        running, done = 0, 0
        started = time.perf_counter()
        while done < number:
            while running < at_once and (content := next(contents, None)) is not None:
                prompt = model.prompt([{"role": "user", "content": content}], [])
                model.submit(prompt, sampling, emit)
                running += 1
            step = ends.get()
            if step.error is not None:
                raise SystemExit(step.error)
            running, done = running - 1, done + 1
        return written / (time.perf_counter() - started)

    try:
        run(4, 2)
        return {at_once: run(each * at_once, at_once) for at_once in concurrencies}
    finally:
        model.close()


async def chat_through(url: str, at_once: int, each: int) -> float:
    load = stack.plan(url, stack.CHAT, each * at_once, at_once)
    workload = Chat(load, None, words=20, max_tokens=stack.NEW_TOKENS, temperature=0)
    found = await stack.measured(load, workload, next(STARTS))
    tokens = sum(sample.answer.tokens for sample in found.samples if sample.answer)
    return tokens / found.seconds


def embedding_engine(batches: list[int], number: int) -> dict[int, float]:
    """Inputs per second of the engine alone, by size of batch, tokenising included."""
    from fleet_server.engines.openvino.encoder import EmbeddingEngine

    spec = stack.spec_of(stack.EMBEDDING)
    model = EmbeddingEngine(spec, stack.weights(spec), available_cpus())

    def run(batch: int, total: int) -> float:
        first = next(STARTS)
        started = time.perf_counter()
        for at in range(first, first + total, batch):
            model.embed(model.tokenize([text(at + item, 24) for item in range(batch)]))
        return total / (time.perf_counter() - started)

    try:
        for batch in batches:
            run(batch, 4 * batch)
        return {batch: run(batch, number) for batch in batches}
    finally:
        model.close()


async def embeddings_through(url: str, batch: int, number: int, clients: int) -> float:
    load = stack.plan(url, stack.EMBEDDING, number // batch, clients)
    workload = Embeddings(load, None, words=24, batch=batch, encoding="base64")
    found = await stack.measured(load, workload, next(STARTS))
    return number / found.seconds


def chat_rows(concurrencies: list[int], each: int) -> list[list[Any]]:
    engine = chat_engine(concurrencies, each)
    spec = stack.spec_of(stack.CHAT)
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        asyncio.run(chat_through(routed, 2, 2))
        for at_once in concurrencies:
            through = [asyncio.run(chat_through(url, at_once, each)) for url in (direct, routed)]
            rows.append(_row(f"chat, {at_once} at once, tokens/s", engine[at_once], through))
    return rows


def embedding_rows(number: int) -> list[list[Any]]:
    engine = embedding_engine([1, 32], number)
    spec = stack.spec_of(stack.EMBEDDING)
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        asyncio.run(embeddings_through(routed, 1, 64, 1))
        for name, batch, clients, alone in (
            ("1 input, 1 client", 1, 1, engine[1]),
            ("32 inputs, 1 client", 32, 1, engine[32]),
            ("1 input, 32 clients", 1, 32, engine[32]),
        ):
            through = [
                asyncio.run(embeddings_through(url, batch, number, clients))
                for url in (direct, routed)
            ]
            rows.append(_row(f"embeddings, {name}, inputs/s", alone, through))
    return rows


def _row(name: str, engine: float, through: list[float]) -> list[Any]:
    served, routed = through
    return [name, engine, served, routed, f"{routed / engine:.0%}"]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--each", type=int, default=4, help="chat answers for each place at once")
    parse.add_argument("--inputs", type=int, default=2048, help="embedding inputs of a run")
    parse.add_argument("--only", choices=("chat", "embeddings"))
    parse.add_argument("--json", action="store_true")
    asked = parse.parse_args()
    rows = []
    if asked.only != "chat":
        rows += embedding_rows(asked.inputs)
    if asked.only != "embeddings":
        rows += chat_rows([1, 4, 16, 32], asked.each)
    columns = ["workload", "in process", "server", "router", "router / in process"]
    stack.show("What is left of the engine's speed", columns, rows, as_json=asked.json)


if __name__ == "__main__":
    main()
