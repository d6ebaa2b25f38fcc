"""Router and servers of all tasks in this process, and requests that meet everything they count.

The router and its clients are real, and so are the servers, except that chat and speech models are
scripted. The operator is its metrics with what it notes about a cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from fleet_contract.spec import Dtype, ModelSpec, Task
from fleet_operator.decide.weights.prefetch_progress import Progress
from fleet_operator.metrics import Metrics as OperatorMetrics
from fleet_router.app import RouterApp, Source, create_app
from fleet_router.callers.auth import Auth
from fleet_router.callers.usage_sink import Sink
from fleet_router.proxy.waiting import WaitSettings
from fleet_router.routing.table import Endpoint, LiveRoutes, Route, RouteTable
from fleet_server.app import create_app as create_server
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.state import ServerState
from fleet_web.tracing import Tracing
from support.counting_speech import CountingModel, wav
from support.ports import free_port
from support.prometheus import Target
from support.scripted_chat import ScriptedChat

KEY, POOR_KEY = "sk-all", "sk-little"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]
PIXEL = "data:image/png;base64,AAAA"
PRICE = {"currency": "EUR", "input": 1, "output": 2, "audioMinute": 1, "hour": 0.5}


@dataclass
class BusyFleet:
    """`targets` are what Prometheus scrapes; `send` is one round of requests."""

    url: str
    targets: list[Target]
    router: RouterApp
    serve_late: Callable[[bool], None]
    """Whether the model `acme/late` has a server."""
    operator: OperatorMetrics

    def send(self) -> None:
        """Requests of every kind, and what the operator counts meanwhile."""
        with httpx.Client(base_url=self.url, timeout=120) as client:
            client.headers["authorization"] = f"Bearer {KEY}"
            for stream in (False, True):
                body: dict[str, Any] = {"model": "acme/chat", "messages": MESSAGES, "odd": 1}
                body["stream"] = stream
                assert client.post(CHAT, json=body).status_code == 200
            image = [{"type": "image_url", "image_url": {"url": PIXEL}}]
            seen = {"model": "acme/chat", "messages": [{"role": "user", "content": image}]}
            assert client.post(CHAT, json=seen).status_code == 400
            for given, status in (("w1 w2", 200), ("w1 w2", 200), ([[99_999_999]], 400)):
                body = {"model": "acme/embed", "input": given}
                answer = client.post("/v1/embeddings", json=body)
                assert answer.status_code == status, answer.text
            answer = client.post(
                "/v1/audio/transcriptions", data={"model": "acme/speech"}, files={"file": wav(2)}
            )
            assert answer.status_code == 200, answer.text
            dead = {"model": "acme/dead", "messages": MESSAGES}
            assert client.post(CHAT, json=dead).status_code == 503
            for _ in range(4):
                body = dead | {"model": "acme/half-dead"}
                assert client.post(CHAT, json=body).status_code == 200
            answer = client.post(CHAT, json=dead | {"model": "acme/replaced"})
            assert answer.headers["x-modelfleet-fallback"] == "acme/replaced", answer.text
            self._hold(client)
            poor = {"authorization": f"Bearer {POOR_KEY}"}
            assert client.post(CHAT, json=dead, headers=poor).status_code == 403
            small = {"model": "acme/chat", "messages": MESSAGES}
            statuses = {client.post(CHAT, json=small, headers=poor).status_code for _ in range(2)}
            assert 429 in statuses
        self.router.metrics.loop_ended("keys")
        self._operate()

    def _hold(self, client: httpx.Client) -> None:
        """A request that waits for the first server of a model."""
        self.serve_late(False)
        timer = threading.Timer(0.1, self.serve_late, (True,))
        timer.start()
        body = {"model": "acme/late", "messages": MESSAGES}
        answer = client.post(CHAT, json=body)
        timer.join()
        assert answer.status_code == 200, answer.text

    def _operate(self) -> None:
        metrics = self.operator
        metrics.reconciled("changed", 0.02)
        metrics.api_call("PATCH", "deployments", 200)
        metrics.seen("InferenceModel")
        metrics.repaired("Pod")
        metrics.stale("Pod", False)
        metrics.loop_ended("leader")
        metrics.cold_start("chat", 12)


@contextmanager
def busy_fleet(
    listen: Any, folder: Path, encoder: Path, tracing: Tracing | None = None
) -> Iterator[BusyFleet]:
    """Servers, router, operator's metrics and the sink of usage until the block ends."""
    with ExitStack() as stack:
        exact = ModelSpec(model="acme/embed", task=Task.EMBEDDING, dtype=Dtype.FLOAT32)
        models: dict[str, tuple[str, Any]] = {
            "acme/chat": ("chat", ScriptedChat(gate=_Pace())),
            "acme/embed": ("embedding", EmbeddingEngine(exact, encoder, 1)),
            "acme/speech": ("speech", CountingModel()),
        }
        ports: dict[str, int] = {}
        for model, (task, engine) in models.items():
            aliases = ["acme/half-dead", "acme/late"] if task == "chat" else []
            spec = {"model": model, "task": task, "aliases": aliases}
            state = ServerState(ModelSpec.model_validate(spec), 2)
            state.set_ready(engine)
            state.metrics.load_seconds("load", 1.5)
            stack.callback(state.close)
            ports[model] = stack.enter_context(listen(create_server(state, tracing=tracing)))
        dead = free_port()

        def table(late: bool) -> RouteTable:
            def route(model: str, task: str, *ports: int, **fields: Any) -> Route:
                spec = {"model": model, "task": task, **fields}
                return Route(
                    ModelSpec.model_validate(spec),
                    tuple(Endpoint(f"{model}-{one}", "127.0.0.1", one) for one in ports),
                )

            chat_port = ports["acme/chat"]
            soon = {"routing": {"holdSeconds": 0.1}}
            return RouteTable.build([
                route("acme/chat", "chat", chat_port, price=PRICE),
                route("acme/embed", "embedding", ports["acme/embed"]),
                route("acme/speech", "speech", ports["acme/speech"], price=PRICE),
                route("acme/dead", "chat", dead, **soon),
                route("acme/half-dead", "chat", dead, chat_port),
                route("acme/replaced", "chat", dead, fallback="acme/chat", **soon),
                route("acme/late", "chat", *([chat_port] if late else [])),
            ])  # fmt: skip

        routes = LiveRoutes()
        routes.swap(table(True))
        sink = stack.enter_context(_http_server(_Sink))
        loops: list[asyncio.AbstractEventLoop] = []

        async def watch() -> None:
            loops.append(asyncio.get_running_loop())
            await asyncio.Event().wait()

        def serve_late(late: bool) -> None:
            async def swap() -> None:
                routes.swap(table(late))

            asyncio.run_coroutine_threadsafe(swap(), loops[0]).result(20)

        router = create_app(
            routes, Source(watch, age=lambda: 1.0, scrapes=False), auth=_auth(folder),
            tracing=tracing, wait_settings=WaitSettings(5, 10, 0),
            usage_log=folder / "usage.jsonl",
            usage_sink=Sink(f"http://127.0.0.1:{sink}/"),
        )  # fmt: skip
        port = stack.enter_context(listen(router.web))
        operator = _operator()

        class Exposed(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(operator.render())

            def log_message(self, *_: object) -> None:
                pass

        exposed = stack.enter_context(_http_server(Exposed))
        of_release = {"namespace": "fleet", "pod": "pod-0"}
        targets = [
            Target("modelfleet-router", port, of_release, key=KEY),
            Target("modelfleet-operator", exposed, of_release, honor_labels=True),
            *(
                Target(model, at, {"namespace": "models", "pod": "pod-1"})
                for model, at in ports.items()
            ),
        ]
        yield BusyFleet(f"http://127.0.0.1:{port}", targets, router, serve_late, operator)


class _Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Pace(threading.Semaphore):
    """A token every few milliseconds, so that a stream has several chunks."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        time.sleep(0.005)
        return True


def _auth(folder: Path) -> Auth:
    keys: list[dict[str, Any]] = [
        {"name": "all", "metrics": True}, {"name": "little", "models": ["acme/chat"],
         "limits": {"requestsPerMinute": 1}},
    ]  # fmt: skip
    for key, secret in zip(keys, (KEY, POOR_KEY), strict=True):
        key["sha256"] = hashlib.sha256(secret.encode()).hexdigest()
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": keys}))
    auth = Auth(path)
    auth.load()
    return auth


def _operator() -> OperatorMetrics:
    metrics = OperatorMetrics(time.time())
    metrics.gauge("modelfleet_operator_queue_depth", "", lambda: 1)
    metrics.gauge("modelfleet_operator_queue_oldest_seconds", "", lambda: 0.5)
    metrics.phases(lambda: ["Ready", "Failed"])
    metrics.prefetched(lambda: {("models", "l4"): Progress()})
    condition = {"type": "Ready", "status": "False"}
    model = {
        "metadata": {"uid": "u", "resourceVersion": "1", "namespace": "models", "name": "chat"},
        "status": {"conditions": [condition]},
    }
    metrics.conditions(lambda: [model])
    return metrics
