"""Resident memory of a model server: when ready, after requests, some time later and after another.

One server process for each demo model, in turn. Anonymous memory is that of heaps, stacks and
caches; mapped memory is that of libraries and weight files, which the kernel shares between
processes and can drop. Proportional memory counts a page mapped by several processes in parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lean
import orjson
import stack
from in_process import embedding_bodies
from shares import BOUNDARY, recordings

from fleet_bench.words import text
from fleet_contract.launch import encode
from fleet_contract.spec import Engine
from fleet_contract.spec_parts import Cache

MIB = 1024
FIELDS = ("Rss", "Pss", "Anonymous")
LETTERS = {"c": stack.CHAT, "e": stack.EMBEDDING, "s": stack.SPEECH}
CLIENTS, WORDS, NEW_TOKENS = 16, 60, 8


def kib(pid: int) -> dict[str, int]:
    """FIELDS of a process in KiB, from /proc."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    pairs = dict(line.split(":", 1) for line in lines[1:])
    return {name: int(pairs[name].split()[0]) for name in FIELDS}


def row(model: str, when: str, pid: int) -> list[Any]:
    found = kib(pid)
    resident, anonymous = found["Rss"] // MIB, found["Anonymous"] // MIB
    return [model, when, resident, found["Pss"] // MIB, anonymous, resident - anonymous]


def chats(url: str, number: int) -> None:
    """Distinct prompts of about 100 tokens, with few new ones."""
    bodies = (
        orjson.dumps({
            "model": stack.CHAT, "max_tokens": NEW_TOKENS, "temperature": 0,
            "messages": [{"role": "user", "content": text(at, WORDS)}],
        })
        for at in range(number)
    )  # fmt: skip
    lean.exchange(url, "/v1/chat/completions", bodies, CLIENTS)


def embeddings(url: str, number: int) -> None:
    lean.exchange(url, "/v1/embeddings", embedding_bodies(0, number * 8, 8), CLIENTS)


def transcriptions(speech: bytes) -> Callable[[str, int], None]:
    def send(url: str, number: int) -> None:
        forms = recordings(speech)
        sent = (next(forms) for _ in range(number))
        form = f"multipart/form-data; boundary={BOUNDARY}"
        lean.exchange(url, "/v1/audio/transcriptions", sent, 4, form)

    return send


def rows(
    name: str,
    send: Callable[[str, int], None],
    number: int,
    idle: float,
    changes: dict[str, Any],
    environ: dict[str, str],
) -> Iterator[list[Any]]:
    """Rows of one server; `changes` are fields of its spec in snake case."""
    spec = stack.spec_of(name, **changes)
    stack.weights(spec)
    port = stack.free_port()
    settings = {"MODELS_DIR": str(stack.models_root()), "AUTO_DOWNLOAD_MODELS": "0"}
    command = [sys.executable, "-m", "fleet_server", "--port", str(port)]
    with stack.process(command, encode(spec) | settings | environ) as pid:
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/readyz", pid=pid)
        time.sleep(3)
        yield row(name, "ready", pid)
        send(url, number)
        yield row(name, f"after {number:,} requests", pid)
        time.sleep(idle)
        yield row(name, f"{idle:g} s later", pid)
        for when in ("next", "second"):
            start = time.perf_counter()
            send(url, 1)
            yield row(name, f"{when} request, {time.perf_counter() - start:.2f} s", pid)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--models", default="ce", help=f"letters of {LETTERS}")
    parse.add_argument("--requests", type=int, default=1000, help="a twentieth of it for speech")
    parse.add_argument("--idle", type=float, default=20, help="seconds")
    parse.add_argument("--release-after", type=int, default=300, help="cache.releaseAfter")
    parse.add_argument("--engine", default="auto")
    parse.add_argument("--kv-gib", type=float, help="cache.kvGib")
    parse.add_argument("--speech", type=Path, help="a recording for Whisper")
    parse.add_argument("--env", nargs="*", default=[], help="NAME=VALUE for the servers")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    speech = options.speech.read_bytes() if options.speech else b""
    calls = {"c": (chats, 1), "e": (embeddings, 1), "s": (transcriptions(speech), 20)}
    cache = Cache(release_after=options.release_after, kv_gib=options.kv_gib)
    changes = {"engine": Engine(options.engine), "cache": cache}
    found: list[list[Any]] = []
    for letter in options.models:
        send, part = calls[letter]
        environ = dict(pair.split("=", 1) for pair in options.env)
        found += rows(
            LETTERS[letter], send, options.requests // part, options.idle, changes, environ,
        )  # fmt: skip
    columns = ["model", "when", "resident MiB", "proportional", "anonymous", "mapped"]
    stack.show("Memory of model servers", columns, found, as_json=options.json)


if __name__ == "__main__":
    main()
