"""Streams through a router with many routes while their resources change.

    python tests/bench/router_routes.py --models 10000 --events 100

A simulated API server lists the InferenceModels and EndpointSlices of all models, and then sends
watch events: changed statuses and changed servers in turn. Streams with a fixed time between pieces
run all the time, in phases without and with events. The time between two pieces that arrive at the
client should be the same in both. The client's own delays are in both figures, so the machine must
be idle otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httptools
import orjson
import psutil
import stack
import uvloop
import yaml
from pipe import MODEL, chat
from stack import Running

from fleet_contract.names import API_VERSION, LABEL_MODEL
from fleet_contract.spec import ModelSpec
from support.ports import free_port

Json = dict[str, Any]
GAP_MS = 20
TICK_SECONDS = 0.01
CONFIG = {
    "current-context": "bench",
    "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    "users": [{"name": "bench", "user": {}}],
}


def model(number: int, version: int) -> Json:
    """An InferenceModel as the API server returns it, with a resolved spec; number 0 is `MODEL`."""
    name = MODEL if number == 0 else f"bench/{number}"
    spec = ModelSpec(model=name, task="chat", aliases=[f"alias-{number}"])
    return {
        "metadata": {
            "name": f"m{number}", "namespace": f"team-{number % 20}",
            "uid": f"uid-{number}", "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"model": name, "task": "chat"},
        "status": {
            "phase": "Ready", "reason": "Ready", "resolved": spec.to_wire(),
            "coldStart": {"totalSeconds": version % 100 + 1.0, "at": "2026-01-01T00:00:00Z"},
        },
    }  # fmt: skip


def endpoint_slice(number: int, version: int, port: int) -> Json:
    """The EndpointSlice of a model: the stub for number 0, else an address that changes."""
    address = "127.0.0.1" if number == 0 else f"10.{number >> 8}.{number & 255}.{version % 200 + 1}"
    return {
        "metadata": {
            "name": f"m{number}-x", "namespace": f"team-{number % 20}",
            "uid": f"slice-{number}", "resourceVersion": str(version),
            "labels": {LABEL_MODEL: f"m{number}"},
        },
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{
            "addresses": [address], "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "name": f"m{number}-{version}"},
        }],
    }  # fmt: skip


class ApiServer:
    """Lists with pages and watches of the two kinds; `GET /events?n=` sets the events a second."""

    def __init__(self, models: int, port: int) -> None:
        self._models = models
        self._port = port
        self._version = 1
        self._events = 0.0
        self._watches: dict[bool, list[asyncio.StreamWriter]] = {True: [], False: []}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client left
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            target = urlsplit(head.split()[1].decode())
            query = {key: values[0] for key, values in parse_qs(target.query).items()}
            if target.path == "/events":
                self._events = float(query["n"])
            if query.get("watch"):
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"transfer-encoding: chunked\r\n\r\n"
                )
                self._watches["inferencemodels" in target.path].append(writer)
                return
            body = orjson.dumps(self._page(target.path, query))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))

    def _page(self, path: str, query: dict[str, str]) -> Json:
        first = int(query.get("continue", 0))
        last = min(self._models, first + int(query.get("limit", 500)))
        meta = {"resourceVersion": "1", **({"continue": str(last)} if last < self._models else {})}
        if "inferencemodels" in path:
            items = [model(number, 1) for number in range(first, last)]
        else:
            items = [endpoint_slice(number, 1, self._port) for number in range(first, last)]
        return {"apiVersion": API_VERSION, "metadata": meta, "items": items}

    async def send_events(self) -> None:
        due = 0.0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            due += self._events * TICK_SECONDS
            while due >= 1:
                due -= 1
                self._version += 1
                number = random.randrange(1, self._models)
                of_models = self._version % 2 == 0
                item = (
                    model(number, self._version)
                    if of_models
                    else endpoint_slice(number, self._version, self._port)
                )
                line = orjson.dumps({"type": "MODIFIED", "object": item}) + b"\n"
                watches = self._watches[of_models]
                watches[:] = [writer for writer in watches if not writer.is_closing()]
                for writer in watches:
                    writer.write(b"%x\r\n%b\r\n" % (len(line), line))


class Stream(asyncio.Protocol):
    """Repeats one streamed request; `gaps` gets the seconds between the pieces of each stream."""

    def __init__(self, gaps: list[float]) -> None:
        self.gaps = gaps
        self._request = chat(stream=True, gap=GAP_MS)
        self._parser = httptools.HttpResponseParser(self)
        self._last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request.data)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200:
            raise SystemExit(f"not a 200: {body!r}")
        now = time.perf_counter()
        if self._last:
            self.gaps.append(now - self._last)
        self._last = now

    def on_message_complete(self) -> None:
        self._last = 0.0
        if not self._transport.is_closing():
            self._transport.write(self._request.data)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._transport.close()


async def streamed(url: str, number: int, seconds: float) -> list[float]:
    """The gaps of `number` concurrent streams."""
    at, gaps = urlsplit(url), list[float]()
    loop = asyncio.get_running_loop()
    streams = []
    for _ in range(number):
        _, stream = await loop.create_connection(lambda: Stream(gaps), at.hostname, at.port)
        streams.append(stream)
    await asyncio.sleep(seconds)
    for stream in streams:
        stream.close()
    return gaps


@contextmanager
def kube_routing(models: int, stub: Running) -> Iterator[tuple[Running, str]]:
    """A router of the simulated cluster, and the cluster's address."""
    api, port = free_port(), free_port()
    upstream = str(urlsplit(stub.url).port)
    command = [sys.executable, __file__, "--api", str(api), "--models", str(models),
               "--upstream", upstream]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, stack.process(command):
        url = f"http://127.0.0.1:{api}"
        stack.await_status(f"{url}/events?n=0")
        config = Path(folder) / "config"
        clusters = [{"name": "bench", "cluster": {"server": url}}]
        config.write_text(yaml.safe_dump({**CONFIG, "clusters": clusters}))
        environ = {"KUBECONFIG": str(config), "WATCH_NAMESPACES": "*", "ALLOWED_HOSTS": "*"}
        command = [sys.executable, "-m", "fleet_router", "--kube", "--port", str(port)]
        with stack.process(command, environ) as group:
            address = f"http://127.0.0.1:{port}"
            stack.await_status(f"{address}/readyz")
            yield Running(address, group), url


def percentile(gaps: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(gaps)[min(len(gaps) - 1, int(share * len(gaps)))] * 1000


def serve_api(port: int, models: int, upstream: int) -> None:
    async def run() -> None:
        api = ApiServer(models, upstream)
        server = await asyncio.start_server(api.serve, "127.0.0.1", port)
        async with server:
            await api.send_events()

    uvloop.run(run())


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--models", type=int, default=10_000)
    parse.add_argument("--events", type=float, default=100, help="a second")
    parse.add_argument("--streams", type=int, default=8)
    parse.add_argument("--seconds", type=float, default=20, help="of each phase")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--json", action="store_true")
    parse.add_argument("--api", type=int, help=argparse.SUPPRESS)
    parse.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    options = parse.parse_args()
    if options.api:
        serve_api(options.api, options.models, options.upstream)
        return
    gaps: dict[float, list[float]] = {0: [], options.events: []}
    cpu: dict[float, float] = {0: 0.0, options.events: 0.0}
    with stack.stub() as stub:
        began = time.perf_counter()
        with kube_routing(options.models, stub) as (router, api):
            print(f"ready after {time.perf_counter() - began:.1f} s", file=sys.stderr)
            process = psutil.Process(router.group)
            for _ in range(options.rounds):
                for events, found in gaps.items():
                    stack.await_status(f"{api}/events?n={events}")
                    before = sum(process.cpu_times()[:2])
                    found += uvloop.run(streamed(router.url, options.streams, options.seconds))
                    cpu[events] += sum(process.cpu_times()[:2]) - before
            memory = process.memory_info().rss / 2**20
    seconds = options.rounds * options.seconds
    rows = [
        [events, len(found), *(percentile(found, share) for share in (0.5, 0.99, 0.999, 1.0)),
         100 * cpu[events] / seconds, memory]
        for events, found in gaps.items()
    ]  # fmt: skip
    columns = ["events a second", "gaps", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "CPU %", "MiB"]
    title = f"{options.models:,} routes, {options.streams} streams, {GAP_MS} ms between pieces"
    stack.show(title, columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
