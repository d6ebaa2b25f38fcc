"""Seconds from the start of a process to ready, with its stages, for each demo model.

Weights lie on disk; what OpenVINO keeps beside a GGUF is there after the first start.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import stack

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec


def start(spec: ModelSpec) -> tuple[float, dict[str, float]]:
    """Seconds to the first good answer of /readyz, and the stages the server tells."""
    port = stack.free_port()
    environ = encode(spec) | {
        "MODELS_DIR": str(stack.models_root()), "AUTO_DOWNLOAD_MODELS": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "fleet_server", "--port", str(port)]
    began = time.perf_counter()
    with stack.process(command, environ):
        body = json.loads(stack.await_status(f"http://127.0.0.1:{port}/readyz"))
        return time.perf_counter() - began, body.get("stages", {})


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--times", type=int, default=5)
    parse.add_argument("--json", action="store_true")
    asked = parse.parse_args()
    rows: list[list[Any]] = []
    for name in (stack.CHAT, stack.EMBEDDING, stack.SPEECH):
        spec = stack.spec_of(name)
        stack.weights(spec)
        start(spec)  # writes what a first start keeps, and fills the page cache
        runs = [start(spec) for _ in range(asked.times)]
        middle = sorted(runs, key=lambda run: run[0])[len(runs) // 2]
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in middle[1].items())
        seconds = [run[0] for run in runs]
        rows.append([name, statistics.median(seconds), max(seconds), stages])
    columns = ["model", "median s", "most s", "stages of the median run"]
    stack.show("From process start to ready", columns, rows, as_json=asked.json)


if __name__ == "__main__":
    main()
