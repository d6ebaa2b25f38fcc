"""The share of an engine's speed that remains in process, through its server and through the
router.

All levels get the same distinct prompts, none twice for the same engine, and do the same work:
tokenised, computed, and for chat detokenised. Client, router and server share the machine with the
engine, as on a laptop; the client's cost is negligible (lean.py). The levels are measured in turns
in short rounds, because the speed of a machine varies.
"""

from __future__ import annotations

import argparse
import base64
import queue
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import lean
import numpy as np
import orjson
import stack

from fleet_bench.words import text
from fleet_contract.cpus import available_cpus, cpu_has_bf16
from fleet_contract.spec import Dtype, Engine, ModelSpec
from fleet_prepare.model_files import ModelFiles
from fleet_prepare.placement.dtypes import decide

STARTS: Iterator[int] = iter(range(0, 10**12, 100_000))
CHATS_AT_ONCE = (1, 4, 16, 32)

Measure = Callable[[], float]
"""A short run; returns a rate per second."""


def chat_in_process(model: Any, at_once: int, number: int) -> float:
    """Tokens per second of the engine alone (OpenVinoChat)."""
    from fleet_server.generation.detokenize import TextStream
    from fleet_server.protocols import Sampling

    steps: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    sampling = Sampling(max_tokens=stack.NEW_TOKENS, temperature=0)
    texts = [TextStream(model.decode) for _ in range(number)]
    parts: list[list[str]] = [[] for _ in range(number)]
    written, running, begun, done = 0, 0, 0, 0
    questions = list(contents(next(STARTS), number))
    started = perf_counter()
    while done < number:
        while running < at_once and begun < number:
            prompt = model.prompt([{"role": "user", "content": questions[begun]}], [])
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
    seconds = perf_counter() - started
    assert all(map("".join, parts)), "a response without text"
    return written / seconds


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


def chat_through(url: str, at_once: int, number: int) -> float:
    """Tokens per second of streamed responses."""
    bodies = list(chat_bodies(next(STARTS), number))
    found = lean.exchange(url, "/v1/chat/completions", bodies, at_once)
    return sum(map(tokens_of, found.answers)) / found.seconds


def tokens_of(answer: bytes) -> int:
    """Number of tokens in a streamed response. Raises AssertionError if it is incomplete."""
    *events, end, rest = answer.split(b"\n\n")
    assert (end, rest) == (b"data: [DONE]", b""), answer
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas), answer
    return int(chunks[-1]["usage"]["completion_tokens"])


def embeddings_in_process(model: Any, batch: int, number: int) -> float:
    """Inputs per second of the engine alone (EmbeddingEngine), including tokenisation."""
    first = next(STARTS)
    started = perf_counter()
    for at in range(first, first + number, batch):
        model.embed(model.tokenize([text(at + item, 24) for item in range(batch)]))
    return number / (perf_counter() - started)


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


def medians(levels: list[Measure], rounds: int) -> list[float]:
    """The median rate of each level over rounds in turns, after a round of warm-up."""
    found: list[list[float]] = [[] for _ in levels]
    for turn in range(rounds + 1):
        order = list(range(len(levels)))
        for level in order[turn % len(order) :] + order[: turn % len(order)]:
            rate = levels[level]()
            if turn:
                found[level].append(rate)
    return [statistics.median(rates) for rates in found]


def _dtype(spec: ModelSpec) -> Dtype:
    """The number format of the servers."""
    return decide(spec, Engine.OPENVINO, "cpu", ModelFiles(frozenset()), bf16=cpu_has_bf16())


def chat_rows(rounds: int) -> list[list[Any]]:
    from fleet_server.engines.openvino.chat import OpenVinoChat

    spec = stack.spec_of(stack.CHAT)
    engine = OpenVinoChat(spec, stack.weights(spec), available_cpus(), dtype=_dtype(spec))
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        for at_once in CHATS_AT_ONCE:
            number = max(2, at_once)
            levels: list[Measure] = [
                partial(chat_in_process, engine, at_once, number),
                *(partial(chat_through, url, at_once, number) for url in (direct, routed)),
            ]
            rows.append(_row(f"chat, {at_once} at once, tokens/s", medians(levels, rounds)))
    engine.close()
    return rows


def embedding_rows(rounds: int) -> list[list[Any]]:
    from fleet_server.engines.openvino.encoder import EmbeddingEngine

    spec = stack.spec_of(stack.EMBEDDING)
    engine = EmbeddingEngine(spec, stack.weights(spec), available_cpus(), dtype=_dtype(spec))
    rows = []
    with stack.server(spec) as direct, stack.router({direct: spec}) as routed:
        for name, batch, clients, alone, number in (
            ("1 input, 1 client", 1, 1, 1, 128),
            ("32 inputs, 1 client", 32, 1, 32, 384),
            ("1 input, 32 clients", 1, 32, 32, 384),
        ):
            levels: list[Measure] = [
                partial(embeddings_in_process, engine, alone, number),
                *(
                    partial(embeddings_through, url, batch, number, clients)
                    for url in (direct, routed)
                ),
            ]
            rows.append(_row(f"embeddings, {name}, inputs/s", medians(levels, rounds)))
    engine.close()
    return rows


def _row(name: str, rates: list[float]) -> list[Any]:
    engine, served, routed = rates
    return [name, engine, served, routed, f"{served / engine:.0%}", f"{routed / engine:.0%}"]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=9)
    parse.add_argument("--only", choices=("chat", "embeddings"))
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    rows = []
    if options.only != "chat":
        rows += embedding_rows(options.rounds)
    if options.only != "embeddings":
        rows += chat_rows(options.rounds)
    columns = ["workload", "in process", "server", "router", "server / in process",
               "router / in process"]  # fmt: skip
    stack.show("What is left of the engine's speed", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
