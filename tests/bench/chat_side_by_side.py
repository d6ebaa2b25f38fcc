"""SmolLM2 served by this project and by `transformers serve`, one after the other, as ratios.

Both use the same GGUF: transformers gets it dequantised to bfloat16 safetensors, since it supports
no smaller format on a CPU. Needs the torch extra, and `pip install transformers[serving]`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stack

from fleet_bench.chat import Chat
from fleet_bench.summary import Summary, summarise
from support.dequantised import dequantised

CONCURRENCIES = (1, 4, 16)


def weights(folder: Path) -> Path:
    """Write SmolLM2 as safetensors in bfloat16 and return the folder."""
    (gguf,) = stack.weights(stack.spec_of(stack.CHAT)).glob("*.gguf")
    return dequantised(gguf, folder)


@contextmanager
def transformers_serve(model: Path, *extra: str) -> Iterator[str]:
    port = stack.free_port()
    script = Path(sys.executable).with_name("transformers")
    command = [str(script), "serve", str(model), "--port", str(port), "--host", "127.0.0.1",
               "--device", "cpu", *extra]  # fmt: skip
    with stack.process(command, {"HF_HUB_OFFLINE": "1"}):
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/health")
        yield url


async def measure(url: str, model: str, at_once: int, each: int, first: int) -> Summary:
    warm = stack.plan(url, model, 2, 2)
    await stack.measured(
        warm, Chat(warm, None, words=20, max_tokens=8, temperature=0), first + 50_000
    )
    load = stack.plan(url, model, at_once * each, at_once)
    workload = Chat(load, None, words=20, max_tokens=stack.NEW_TOKENS, temperature=0)
    return summarise(await stack.measured(load, workload, first))


def figures(url: str, model: str, each: int, first: int) -> dict[int, Summary]:
    return {
        at_once: asyncio.run(measure(url, model, at_once, each, first + 1000 * at_once))
        for at_once in CONCURRENCIES
    }


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--each", type=int, default=4, help="responses for each concurrent client")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    spec = stack.spec_of(stack.CHAT)
    found: dict[str, dict[int, Summary]] = {}
    with stack.server(spec) as direct, stack.router({direct: spec}) as url:
        found["modelfleet"] = figures(url, stack.CHAT, options.each, 0)
    with tempfile.TemporaryDirectory() as folder:
        model = weights(Path(folder))
        for name, extra in (("serve", ()), ("serve, continuous", ("--continuous-batching",))):
            with transformers_serve(model, *extra) as url:
                found[name] = figures(url, str(model), options.each, 0)
    rows: list[list[Any]] = []
    for at_once in CONCURRENCIES:
        own = found["modelfleet"][at_once].tokens_per_second or 0.0
        for name in list(found)[1:]:
            other = found[name][at_once].tokens_per_second or 0.0
            rows.append([f"{at_once} at once, {name}", own, other, f"{own / other:.1f}x"])
    columns = ["load", "modelfleet tokens/s", "transformers tokens/s", "ratio"]
    stack.show("SmolLM2 and transformers", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
