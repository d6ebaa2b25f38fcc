"""How much of an engine's speed is left in process, through its server and through the router.

The same distinct prompts at every level, none twice at one engine, and the same work: tokenised,
computed, and for chat turned into text piece by piece. Client, router and server share the machine
with the engine, as they do on a laptop; the client is one that costs almost nothing (lean.py).
"""

from __future__ import annotations

import argparse
import base64
import queue
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import lean
import numpy as np
import orjson
import stack

from fleet_bench.words import text
from fleet_contract.cpus import available_cpus

STARTS: Iterator[int] = iter(range(0, 10**9, 100_000))


def chat_engine(concurrencies: list[int], each: int) -> dict[int, float]:
    """Tokens per second of the engine alone, by number of answers at once."""
    from fleet_server.chat.text import TextStream
    from fleet_server.engines.openvino.chat import OpenVinoChat
    from fleet_server.protocols import Sampling, Step

    spec = stack.spec_of(stack.CHAT)
    model = OpenVinoChat(spec, stack.weights(spec), available_cpus())
    sampling = Sampling(max_tokens=stack.NEW_TOKENS, temperature=0)

    def run(number: int, at_once: int) -> float:
        steps: queue.SimpleQueue[tuple[int, Step]] = queue.SimpleQueue()
        texts = [TextStream(model.decode) for _ in range(number)]
        parts: list[list[str]] = [[] for _ in range(number)]
        written, running, begun, done = 0, 0, 0, 0
        asked = list(contents(next(STARTS), number))
        started = time.perf_counter()
        while done < number:
            while running < at_once and begun < number:
                prompt = model.prompt([{"role": "user", "content": asked[begun]}], [])
                model.submit(prompt, sampling, partial(_put, steps, begun))
                running, begun = running + 1, begun + 1
            at, step = steps.get()
            if step.error is not None:
                raise SystemExit(step.error)
            written += len(step.token_ids)
            parts[at].append(texts[at].feed(step.token_ids))
            if step.finish is not None:
                parts[at].append(texts[at].flush())
                running, done = running - 1, done + 1
        seconds = time.perf_counter() - started
        assert all(map("".join, parts)), "an answer without text"
        return written / seconds

    try:
        run(4, 2)
        return {at_once: run(each * at_once, at_once) for at_once in concurrencies}
    finally:
        model.close()


def _put(steps: queue.SimpleQueue[tuple[int, Any]], number: int, step: Any) -> None:
    steps.put((number, step))


def contents(first: int, number: int) -> Iterator[str]:
    return (f"Tell a long story about: {text(first + at, 20)}" for at in range(number))


def chat_bodies(first: int, number: int) -> Iterator[bytes]:
    for content in contents(first, number):
        yield orjson.dumps({
            "model": stack.CHAT, "messages": [{"role": "user", "content": content}],
            "max_tokens": stack.NEW_TOKENS, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True},
        })  # fmt: skip


def chat_through(url: str, at_once: int, each: int) -> float:
    """Tokens per second of streamed answers."""
    bodies = list(chat_bodies(next(STARTS), each * at_once))
    found = lean.exchange(url, "/v1/chat/completions", bodies, at_once)
    return sum(map(tokens_of, found.answers)) / found.seconds


def tokens_of(answer: bytes) -> int:
    """Tokens a streamed answer says it has. Raises AssertionError unless it is whole."""
    *events, end, rest = answer.split(b"\n\n")
    assert (end, rest) == (b"data: [DONE]", b""), answer
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas), answer
    return int(chunks[-1]["usage"]["completion_tokens"])


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


def embedding_bodies(first: int, number: int, batch: int) -> Iterator[bytes]:
    for at in range(first, first + number, batch):
        yield orjson.dumps({
            "model": stack.EMBEDDING, "encoding_format": "base64",
            "input": [text(at + item, 24) for item in range(batch)],
        })  # fmt: skip


def embeddings_through(url: str, batch: int, number: int, clients: int) -> float:
    """Inputs per second."""
    bodies = list(embedding_bodies(next(STARTS), number, batch))
    found = lean.exchange(url, "/v1/embeddings", bodies, clients)
    for answer in found.answers:
        vectors = [base64.b64decode(item["embedding"]) for item in orjson.loads(answer)["data"]]
        lengths = [np.linalg.norm(np.frombuffer(vector, dtype="<f4")) for vector in vectors]
        assert len(lengths) == batch, answer
        assert np.allclose(lengths, 1, atol=1e-3), lengths
    return number / found.seconds


def chat_rows(concurrencies: list[int], each: int) -> list[list[Any]]:
    engine = chat_engine(concurrencies, each)
    spec = stack.spec_of(stack.CHAT)
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        chat_through(routed, 2, 2)
        for at_once in concurrencies:
            through = [chat_through(url, at_once, each) for url in (direct, routed)]
            rows.append(_row(f"chat, {at_once} at once, tokens/s", engine[at_once], through))
    return rows


def embedding_rows(number: int) -> list[list[Any]]:
    engine = embedding_engine([1, 32], number)
    spec = stack.spec_of(stack.EMBEDDING)
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        embeddings_through(routed, 1, 64, 1)
        for name, batch, clients, alone in (
            ("1 input, 1 client", 1, 1, engine[1]),
            ("32 inputs, 1 client", 32, 1, engine[32]),
            ("1 input, 32 clients", 1, 32, engine[32]),
        ):
            through = [embeddings_through(url, batch, number, clients) for url in (direct, routed)]
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
