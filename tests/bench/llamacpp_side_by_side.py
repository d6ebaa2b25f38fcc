"""SmolLM2 with `engine: llamacpp` of this project beside llama.cpp's own server, in turns.

llama.cpp's server is that of xllamacpp in a process of its own, which listens on TCP, with the same
file, cache, sequences and threads. Needs the llamacpp extra.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stack
import streams

from fleet_contract.spec import Engine, ModelSpec

# The engine is imported before xllamacpp: it sets how libgomp's threads wait, for both sides.
SERVE = """
import json, sys, time
from pathlib import Path
from fleet_server.engines.llamacpp import chat
import xllamacpp
from fleet_contract.spec import ModelSpec
from fleet_prepare import gguf_head
from fleet_server.engines.llamacpp.cache import KvCache
path, port, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec = ModelSpec.model_validate(json.loads(sys.argv[4]))
at_once = chat.sequences(spec)
cache = KvCache.fit(gguf_head.metadata(path), spec, at_once)
params = chat.parameters_of(path, spec, cache, at_once, threads)
params.hostnames, params.port, params.verbosity = ["127.0.0.1"], port, -1
params.sampling.generation_prompt = ""  # which is for the engine's bounds on reasoning
server = xllamacpp.Server(params)
time.sleep(86400)
"""


@contextmanager
def theirs(path: Path, spec: ModelSpec, threads: int) -> Iterator[str]:
    """llama.cpp's own server; its address."""
    port = stack.free_port()
    fields = json.dumps(spec.to_wire())
    command = [sys.executable, "-c", SERVE, str(path), str(port), str(threads), fields]
    with stack.process(command) as pid:
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/health", pid=pid)
        yield url


def compare(options: argparse.Namespace) -> list[list[Any]]:
    """A row for each level."""
    spec = stack.spec_of(stack.CHAT).model_copy(update={"engine": Engine.LLAMACPP})
    (path,) = stack.weights(stack.spec_of(stack.CHAT)).glob("*.gguf")
    levels = [int(level) for level in options.levels.split(",")]
    load = streams.Load(levels, options.each, options.rounds, options.words)
    with (
        stack.server(spec) as ours,
        theirs(path, spec, len(os.sched_getaffinity(0))) as other,
    ):
        return streams.compare(ours, other, stack.CHAT, load)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--levels", default="1,4,16", help="concurrent clients")
    parse.add_argument("--each", type=int, default=2, help="responses for each client in a round")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--words", type=int, default=20, help="words of a prompt")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    title = "engine llamacpp and llama.cpp's own server (median of the rounds)"
    stack.show(title, streams.COLUMNS, compare(options), as_json=options.json)


if __name__ == "__main__":
    main()
