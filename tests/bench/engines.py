"""The chat engines of this project on one machine, in turns: generation, long prompts, memory.

SmolLM2 is the real model, its Q4_1 GGUF for openvino and llamacpp, dequantised to bfloat16 for vllm
and torch. Others are random weights in the shape of a real model: 8 bits for openvino (converted)
and llamacpp (Q8_0), bfloat16 for vllm and torch. vllm runs with the Python of its own environment
(`make env-vllm`). All servers are loaded at once and measured in turns, through HTTP. `--layers`
shortens a shape, which shortens the run: the speed of a layer stays the same, but the vocabulary
takes a larger share. On two cores SmolLM2 takes about six minutes, Llama-3.2-1B with `--layers 4`
as long; all of its layers need 14 GB of memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lean
import numpy as np
import orjson
import psutil
import stack
from shapes import SHAPES, write, write_gguf

from fleet_bench.words import text
from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support.dequantised import dequantised
from support.ports import free_port

NAME = "bench/model"
REAL = "smollm2"
CONTEXT = 4096
LONG = 2000
"""Tokens of a long prompt."""
WORDS = 20
"""Words of a short one."""
IDS = (300, 376)
"""Tokens of long prompts: words in every vocabulary."""


@dataclass
class Engine:
    """A server, and what was measured, by number of requests at once."""

    name: str
    url: str
    pid: int
    generated: dict[int, list[float]] = field(default_factory=dict)
    prefilled: dict[int, list[float]] = field(default_factory=dict)

    def row(self, levels: list[int], long: list[int]) -> list[Any]:
        speeds = [statistics.median(self.generated[level]) for level in levels]
        speeds += [statistics.median(self.prefilled[level]) for level in long]
        return [self.name, *(round(speed, 1) for speed in speeds), self.resident()]

    def resident(self) -> int:
        """MiB of the process and its children."""
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) >> 20


def sources(shape: str, home: Path, layers: int | None = None) -> dict[str, Path]:
    """The weights for each engine; those of a shape with so many `layers`."""
    if shape == REAL:
        (gguf,) = stack.weights(stack.spec_of(stack.CHAT)).glob("*.gguf")
        dense = dequantised(gguf, home / "dense")
    else:
        config = dict(SHAPES[shape])
        config["num_hidden_layers"] = layers or config["num_hidden_layers"]
        dense = write(home / "dense", config)
        gguf = write_gguf(home / "model-Q8_0.gguf", config, "Q8_0")
    openvino = gguf if shape == REAL else dense
    return {"openvino": openvino, "llamacpp": gguf, "vllm": dense, "torch": dense}


@contextmanager
def server(engine: str, source: Path, home: Path, python: str, threads: int) -> Iterator[Engine]:
    spec = ModelSpec.model_validate({
        "model": NAME, "engine": engine, "device": "cpu", "source": f"file://{source}",
        "contextLength": CONTEXT, "batching": {"maxSize": 16}, "limits": {"maxQueueSize": 64},
        "cache": {"kvGib": 1.5, "prefix": False},
    })  # fmt: skip
    port = free_port()
    settings = {"MODELS_DIR": str(home / "models"), "MODELFLEET_THREADS": str(threads)}
    command = [python, "-m", "fleet_server", "--port", str(port)]
    with stack.process(command, encode(spec) | settings) as pid:
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/readyz", pid=pid)
        yield Engine(engine, url, pid)


def generation(url: str, at_once: int, each: int, tokens: int, first: int) -> float:
    """Generated tokens per second after short prompts, prompts included in the time."""
    bodies = (
        orjson.dumps({
            "model": NAME, "max_tokens": tokens, "temperature": 0,
            "messages": [{"role": "user", "content": f"Tell a story about: {text(at, WORDS)}"}],
        })
        for at in range(first, first + at_once * each)
    )  # fmt: skip
    found = lean.exchange(url, "/v1/chat/completions", bodies, at_once)
    answers = map(orjson.loads, found.answers)
    return sum(answer["usage"]["completion_tokens"] for answer in answers) / found.seconds


def prefill(url: str, at_once: int, first: int) -> float:
    """Tokens per second of long prompts."""
    bodies = (
        orjson.dumps({
            "model": NAME, "max_tokens": 1, "temperature": 0,
            "prompt": np.random.default_rng(at).integers(*IDS, LONG).tolist(),
        })
        for at in range(first, first + at_once)
    )  # fmt: skip
    return at_once * LONG / lean.exchange(url, "/v1/completions", bodies, at_once).seconds


def measure(engines: list[Engine], options: argparse.Namespace) -> None:
    number = 0
    for turn in range(options.rounds + 1):  # the first one is the warm-up
        for level in options.levels:
            for engine in engines:
                number += 1000
                tokens = options.tokens if turn else 4
                each = options.each if turn else 1
                speed = generation(engine.url, level, each, tokens, number)
                if turn:
                    engine.generated.setdefault(level, []).append(speed)
        for level in options.long if turn else ():
            for engine in engines:
                number += 1000
                engine.prefilled.setdefault(level, []).append(prefill(engine.url, level, number))


def numbers(given: str) -> list[int]:
    return [int(each) for each in given.split(",") if each]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--shape", default=REAL, help=f"one of {', '.join(SHAPES)}")
    parse.add_argument("--layers", type=int, help="of a shape, by default all")
    parse.add_argument("--engines", default="openvino,llamacpp,vllm,torch")
    parse.add_argument("--vllm-python", default=".venv-vllm/bin/python")
    parse.add_argument("--levels", type=numbers, default="1,4,16", help="short prompts at once")
    parse.add_argument("--long", type=numbers, default="1", help="long prompts at once")
    parse.add_argument("--tokens", type=int, default=48, help="new tokens after a short prompt")
    parse.add_argument("--each", type=int, default=1, help="requests of each client in a round")
    parse.add_argument("--rounds", type=int, default=2)
    parse.add_argument("--threads", type=int, default=psutil.cpu_count(logical=True))
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        home = Path(folder)
        found = sources(options.shape, home, options.layers)
        engines = [
            running.enter_context(server(
                name, found[name], home, options.vllm_python if name == "vllm" else sys.executable,
                options.threads,
            ))
            for name in options.engines.split(",")
        ]  # fmt: skip
        measure(engines, options)
        rows = [engine.row(options.levels, options.long) for engine in engines]
    columns = ["engine", *(f"tokens/s at {level}" for level in options.levels),
               *(f"prompt tokens/s at {level}" for level in options.long), "MiB"]  # fmt: skip
    layers = f", {options.layers} layers" if options.layers else ""
    stack.show(f"Chat engines, {options.shape}{layers}", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
