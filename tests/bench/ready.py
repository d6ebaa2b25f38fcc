"""Seconds from the start of a process to readiness, by stage, for each demo model.

The weights are on disk; OpenVINO's cache of a GGUF exists after the first start.
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
    """Seconds to the first 200 of /readyz, and the stages reported by the server."""
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
    options = parse.parse_args()
    rows: list[list[Any]] = []
    for name in (stack.CHAT, stack.EMBEDDING, stack.SPEECH):
        spec = stack.spec_of(name)
        stack.weights(spec)
        start(spec)  # writes the caches of a first start, and fills the page cache
        runs = [start(spec) for _ in range(options.times)]
        middle = sorted(runs, key=lambda run: run[0])[len(runs) // 2]
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in middle[1].items())
        seconds = [run[0] for run in runs]
        rows.append([name, statistics.median(seconds), max(seconds), stages])
    columns = ["model", "median s", "most s", "stages of the median run"]
    stack.show("From process start to ready", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
