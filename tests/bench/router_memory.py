"""Memory of the router: over many requests, with many concurrent streams, in large uploads.

Resident memory of its process, from /proc: the current value, and the peak since the last reading.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import stack
import uvloop
from pipe import MODEL, Request, chat, drive, response
from stack import Running

from fleet_contract.spec import ModelSpec

MIB = 1024 * 1024
PIECE = 256 * 1024
SLICES = 10
SPEECH = "bench-speech"
FIELD = b'--edge\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n' % SPEECH.encode()
FILE = b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
END = b"--edge--\r\n"


class Memory:
    """The memory of a process, in MiB."""

    def __init__(self, running: Running) -> None:
        self._folder = Path(f"/proc/{running.group}")

    def now(self) -> float:
        return self._read("VmRSS")

    def most(self) -> float:
        """The peak since the last call, without the peak of the start."""
        most = self._read("VmHWM")
        (self._folder / "clear_refs").write_text("5")
        return most

    def _read(self, name: str) -> float:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise SystemExit(f"no {name} in {self._folder}")


def requests(memory: Memory, url: str, number: int) -> Iterator[list[Any]]:
    """Rows of slices of chat requests from 32 clients; every tenth is a stream."""
    cycle = [chat(stream=at == 0) for at in range(10)]
    for part in range(1, SLICES + 1):
        sent = (cycle[at % 10] for at in range(number // SLICES))
        uvloop.run(drive(url, sent, 32))
        done = part * number // SLICES
        yield [f"after {done:,} requests", memory.now(), memory.most()]


def streams(memory: Memory, url: str, number: int, rounds: int) -> Iterator[list[Any]]:
    """Rows of rounds of concurrent streams of about 7 s."""
    request = chat(stream=True, wait=500, gap=100)
    for turn in range(1, rounds + 1):
        uvloop.run(drive(url, iter([request] * number), number))
        yield [f"{number:,} streams at once, round {turn}", memory.now(), memory.most()]


@asynccontextmanager
async def sink() -> AsyncIterator[str]:
    """A server that discards uploads and responds with their length; its address."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        left = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        size = left
        while left:
            left -= len(await reader.read(min(left, PIECE)))
        writer.write(response(b'{"text":"","size":%d}' % size))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def upload(url: str, size: int, *, model_first: bool) -> None:
    """Send a recording of `size` bytes; exits the process unless all of it arrived."""
    at = urlsplit(url)
    before, after = (FIELD + FILE, b"\r\n" + END) if model_first else (FILE, b"\r\n" + FIELD + END)
    length = len(before) + size + len(after)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n"
        b"content-type: multipart/form-data; boundary=edge\r\n\r\n%b" % (length, before)
    )
    piece = b"x" * PIECE
    for _ in range(size // PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write(after)
    answer = await reader.readuntil(b"}")
    if b'"size":%d' % length not in answer:
        raise SystemExit(f"the upload did not arrive: {answer!r}")
    writer.close()


async def uploads(mib: int) -> list[list[Any]]:
    """Rows of uploads through a separate router, with its memory before each."""
    spec = ModelSpec(model=SPEECH, task="speech", limits={"max_audio_bytes": 2 * mib * MIB})
    rows = []
    async with sink() as url:
        with stack.routing({url: spec}) as router:
            memory = Memory(router)
            await upload(router.url, 8 * MIB, model_first=True)
            for name, first in (("before", True), ("after", False)):
                start = memory.now()
                memory.most()
                began = time.perf_counter()
                await upload(router.url, mib * MIB, model_first=first)
                seconds = time.perf_counter() - began
                label = f"{mib} MiB, model {name} the recording, {mib / seconds:.0f} MiB/s"
                most = memory.most()
                rows.append([f"{label}: +{most - start:.1f}", memory.now(), most])
    return rows


def warmed(url: str, request: Request) -> None:
    uvloop.run(drive(url, iter([request] * 2000), 32))


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--requests", type=int, default=100_000)
    parse.add_argument("--streams", type=int, default=1000)
    parse.add_argument("--rounds", type=int, default=5, help="of streams")
    parse.add_argument("--upload", type=int, default=1024, help="MiB")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    spec = ModelSpec(model=MODEL, task="chat")
    with stack.stub() as stub, stack.routing({stub.url: spec}) as router:
        memory = Memory(router)
        warmed(router.url, chat())
        rows = [["after 2,000 requests to warm up", memory.now(), memory.most()]]
        rows += requests(memory, router.url, options.requests)
        rows += streams(memory, router.url, options.streams, options.rounds)
        rows += requests(memory, router.url, options.requests // 2)
    rows += asyncio.run(uploads(options.upload))
    columns = ["when", "MiB now", "most MiB"]
    stack.show("The router's memory", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
