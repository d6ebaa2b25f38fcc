"""Resident memory of a fleet of ten small models on one machine, router and supervisor included.

`modelfleet up -f` with chat, embedding and speech models, each a server of its own, with the budget
of a laptop of 8 GB. The sum of the proportional memory counts a page that several processes map
once; that of the resident memory counts it for each of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import lean
import orjson
import psutil
import stack
from memory import MIB, kib
from shares import BOUNDARY

from fleet_bench.words import text

CHATS, EMBEDDINGS, SPEECHES = 4, 4, 2
"""Models of each task."""
BUDGET = "5.6Gi"
"""70% of 8 GiB, the default of `MEMORY_BUDGET` on an idle machine with so much."""
NEW_TOKENS = 32
CLIENTS = 4


def fleet(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """A manifest of the demo's models under several names; the ids with their task's letter."""
    kinds = [("c", stack.CHAT, CHATS), ("e", stack.EMBEDDING, EMBEDDINGS),
             ("s", stack.SPEECH, SPEECHES)]  # fmt: skip
    documents, models = [], []
    for letter, name, number in kinds:
        spec = stack.spec_of(name)
        source = stack.weights(spec)
        for index in range(number):
            model = f"bench/{letter}{index}"
            fields = {"model": model, "task": spec.task.value, "source": f"file://{source}"}
            documents.append(orjson.dumps({
                "apiVersion": "modelfleet.dev/v1alpha1", "kind": "InferenceModel",
                "metadata": {"name": f"m{letter}{index}"}, "spec": fields,
            }).decode())  # fmt: skip
            models.append((letter, model))
    path = folder / "fleet.yaml"
    path.write_text("\n---\n".join(documents))
    return path, models


def use(url: str, letter: str, model: str, number: int, speech: bytes) -> None:
    """Send requests to one model from some clients."""
    if letter == "c":
        bodies = [{"model": model, "max_tokens": NEW_TOKENS, "temperature": 0,
                   "messages": [{"role": "user", "content": text(at, 60)}]}
                  for at in range(number)]  # fmt: skip
        lean.exchange(url, "/v1/chat/completions", map(orjson.dumps, bodies), CLIENTS)
    elif letter == "e":
        inputs = [{"model": model, "input": [text(8 * at + each, 60) for each in range(8)]}
                  for at in range(number)]  # fmt: skip
        lean.exchange(url, "/v1/embeddings", map(orjson.dumps, inputs), CLIENTS)
    else:
        form = (
            f"--{BOUNDARY}\r\ncontent-disposition: form-data; name=model\r\n\r\n{model}\r\n"
            f"--{BOUNDARY}\r\ncontent-disposition: form-data; "
            'name="file"; filename="a.ogg"\r\n\r\n'
        ).encode() + speech + f"\r\n--{BOUNDARY}--\r\n".encode()  # fmt: skip
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        lean.exchange(url, "/v1/audio/transcriptions", iter([form] * (number // 10)), 1, kind)


def await_models(url: str) -> None:
    """Wait until all models that fit into the budget are ready."""
    deadline = time.monotonic() + stack.START_SECONDS
    while time.monotonic() < deadline:
        listed = orjson.loads(stack.await_status(f"{url}/v1/models"))["data"]
        states = [each["state"] for each in listed]
        if not {"starting", "loading"}.intersection(states):
            return
        time.sleep(1)
    raise SystemExit(f"models are not ready after {stack.START_SECONDS} s: {states}")


def row(when: str, pid: int) -> list[Any]:
    """Sums over the process and its children."""
    root = psutil.Process(pid)
    found = []
    for each in (root, *root.children(recursive=True)):
        with suppress(OSError, LookupError):  # one that has ended
            found.append(kib(each.pid))
    sums = {name: sum(each[name] for each in found) // MIB for name in found[0]}
    return [when, len(found), sums["Rss"], sums["Pss"], sums["Anonymous"]]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--requests", type=int, default=100, help="to each model; a tenth to speech")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    sample = next(each for each in files("fleet_bench").joinpath("samples").iterdir()
                  if each.name.endswith(".ogg"))  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, models = fleet(Path(folder))
        port = stack.free_port()
        command = [str(Path(sys.executable).with_name("modelfleet")), "up", "-f", str(path),
                   "--port", str(port)]  # fmt: skip
        settings = {"MODELS_DIR": str(Path(folder) / "models"), "MEMORY_BUDGET": BUDGET}
        with stack.process(command, settings) as pid:
            url = f"http://127.0.0.1:{port}"
            stack.await_status(f"{url}/readyz", pid=pid)
            await_models(url)
            for letter, model in models:
                use(url, letter, model, 10, sample.read_bytes())
            listed = orjson.loads(stack.await_status(f"{url}/v1/models"))["data"]
            ready = sum(each["memory_bytes"] is not None for each in listed)
            rows.append(row(f"{ready} models after 10 requests to each", pid))
            for letter, model in models:
                use(url, letter, model, options.requests, sample.read_bytes())
            rows.append(row(f"after {options.requests} more to each", pid))
    columns = ["when", "processes", "resident MiB", "proportional", "anonymous"]
    stack.show("Ten models on one machine", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
