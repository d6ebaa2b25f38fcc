"""Cost of clients of the Kubernetes API: import, memory, CPU of an apply, a list and a watch.

    python tests/bench/kube_clients.py
    python tests/bench/kube_clients.py --rounds 5 --clients raw typed

Clients: `aiohttp` and `httpx` sessions with orjson (the minimum for a client of this project),
`raw` (kubernetes.aio's configuration, authentication and transport, JSON as dictionaries), `typed`
(kubernetes.aio's APIs and models), `dynamic` (kubernetes.aio.dynamic) and `ours` (fleet_kube). Each
runs in its own process, in turns, with one stub of an API server. CPU is that of the client's
process only; the objects are Deployments of about 4 KB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

APPLIES, LISTS, EVENTS, AT_ONCE, PAGE = 1000, 10, 4000, 16, 500
PATH = "/apis/apps/v1/namespaces/bench/deployments"
COLUMNS = ("import s", "import MiB", "apply ms", "list of 500 ms", "event ms", "peak MiB")


def deployment(number: int) -> dict[str, Any]:
    """A Deployment as an API server returns it."""
    labels = {"app.kubernetes.io/name": "server", "modelfleet.dev/model": f"model-{number}"}
    probe = {"httpGet": {"path": "/readyz", "port": 8000, "scheme": "HTTP"}, "periodSeconds": 1}
    container = {
        "name": "server", "image": "registry.example/server:1.0-cpu",
        "env": [{"name": f"SETTING_{i}", "value": "x" * 20} for i in range(20)],
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
        "readinessProbe": probe, "livenessProbe": probe, "startupProbe": probe,
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
    }  # fmt: skip
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [container], "terminationGracePeriodSeconds": 60,
            "volumes": [{"name": "models", "emptyDir": {}}],
        },
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": f"model-{number}", "namespace": "bench", "labels": labels,
            "uid": f"uid-{number}", "resourceVersion": str(1000 + number), "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels}, "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        },
        "status": {
            "observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [
                {"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z",
                 "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "r", "message": "m" * 60}
                for kind in ("Available", "Progressing")
            ],
        },
    }  # fmt: skip


def stub(ready: Any) -> None:
    """A stub of an API server with one kind that stores nothing."""
    from aiohttp import web

    one = json.dumps(deployment(0)).encode()
    page = json.dumps({
        "apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {"resourceVersion": "5000"},
        "items": [deployment(i) for i in range(PAGE)],
    }).encode()  # fmt: skip
    event = json.dumps({"type": "MODIFIED", "object": deployment(0)}).encode() + b"\n"
    resource = {"name": "deployments", "kind": "Deployment", "namespaced": True, "singularName": "",
                "verbs": ["get", "list", "patch", "watch"]}  # fmt: skip
    version = {"groupVersion": "apps/v1", "version": "v1"}
    discovery = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
        "/apis": {"kind": "APIGroupList", "groups": [
            {"name": "apps", "versions": [version], "preferredVersion": version}]},
        "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1",
                          "resources": [resource]},
    }  # fmt: skip

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path in discovery:
            return web.json_response(discovery[request.path])
        if request.method == "PATCH":
            await request.read()
            return web.Response(body=one, content_type="application/json")
        if "watch" not in request.query:
            return web.Response(body=page, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        for _ in range(EVENTS // 20):
            await response.write(event * 20)
        return response

    async def serve() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.Event().wait()

    asyncio.run(serve())


Operations = tuple[
    Callable[[dict[str, Any]], Awaitable[Any]],
    Callable[[], Awaitable[int]],
    Callable[[], Awaitable[int]],
    Callable[[], Awaitable[None]],
]
"""Apply one object, list all, watch to the end (both return the number of objects), close."""

APPLY_QUERY = {"fieldManager": "bench", "force": "true"}
APPLY = "application/apply-patch+yaml"
WATCH = {"watch": "true", "resourceVersion": "5000", "timeoutSeconds": "60"}


async def aiohttp_client(url: str) -> Operations:
    import aiohttp
    import orjson

    session = aiohttp.ClientSession(read_bufsize=2**21)

    async def apply(body: dict[str, Any]) -> Any:
        async with session.patch(
            f"{url}{PATH}/{body['metadata']['name']}", params=APPLY_QUERY,
            data=orjson.dumps(body), headers={"content-type": APPLY},
        ) as response:  # fmt: skip
            return orjson.loads(await response.read())

    async def items() -> int:
        async with session.get(url + PATH, params={"limit": "500"}) as response:
            return len(orjson.loads(await response.read())["items"])

    async def watch() -> int:
        count = 0
        async with session.get(url + PATH, params=WATCH) as response:
            while line := await response.content.readline():
                count += bool(orjson.loads(line)["object"]["metadata"])
        return count

    return apply, items, watch, session.close


async def httpx_client(url: str) -> Operations:
    import httpx
    import orjson

    client = httpx.AsyncClient(base_url=url)

    async def apply(body: dict[str, Any]) -> Any:
        response = await client.patch(
            f"{PATH}/{body['metadata']['name']}", params=APPLY_QUERY,
            content=orjson.dumps(body), headers={"content-type": APPLY},
        )  # fmt: skip
        return orjson.loads(response.content)

    async def items() -> int:
        response = await client.get(PATH, params={"limit": "500"})
        return len(orjson.loads(response.content)["items"])

    async def watch() -> int:
        count = 0
        async with client.stream("GET", PATH, params=WATCH) as response:
            async for line in response.aiter_lines():
                count += bool(orjson.loads(line)["object"]["metadata"])
        return count

    return apply, items, watch, client.aclose


async def raw_client(url: str) -> Operations:
    import orjson
    from kubernetes.aio.client import ApiClient, Configuration

    configuration = Configuration()
    configuration.host = url
    client = ApiClient(configuration)

    async def call(method: str, path: str, query: dict[str, str], **more: Any) -> Any:
        _, target, headers, _, _ = await client.param_serialize(
            method, path, query_params=list(query.items()), auth_settings=["BearerToken"],
            header_params=more.pop("headers", {}),
        )  # fmt: skip
        return await client.call_api(method, target, headers, **more)

    async def apply(body: dict[str, Any]) -> Any:
        path = f"{PATH}/{body['metadata']['name']}"
        headers = {"Content-Type": APPLY}
        response = await call("PATCH", path, APPLY_QUERY, headers=headers, body=body)
        return orjson.loads(await response.read())

    async def items() -> int:
        response = await call("GET", PATH, {"limit": "500"})
        return len(orjson.loads(await response.read())["items"])

    async def watch() -> int:
        count = 0
        response = await call("GET", PATH, WATCH)
        while line := await response.response.content.readline():
            count += bool(orjson.loads(line)["object"]["metadata"])
        return count

    return apply, items, watch, client.close


async def typed_client(url: str) -> Operations:
    from kubernetes.aio.client import ApiClient, AppsV1Api, Configuration
    from kubernetes.aio.watch import Watch

    configuration = Configuration()
    configuration.host = url
    client = ApiClient(configuration)
    apps = AppsV1Api(client)

    async def apply(body: dict[str, Any]) -> Any:
        return await apps.patch_namespaced_deployment(
            body["metadata"]["name"], "bench", body, field_manager="bench", force=True,
            _content_type=APPLY,
        )  # fmt: skip

    async def items() -> int:
        return len((await apps.list_namespaced_deployment("bench", limit=500)).items)

    async def watch() -> int:
        count = 0
        stream = Watch().stream(
            apps.list_namespaced_deployment, "bench", resource_version="5000", timeout_seconds=60
        )
        async for event in stream:
            count += bool(event["object"].metadata)
        return count

    return apply, items, watch, client.close


async def dynamic_client(url: str) -> Operations:
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.dynamic import DynamicClient

    configuration = Configuration()
    configuration.host = url
    client = ApiClient(configuration)
    dynamic = await DynamicClient(client)
    deployments = await dynamic.resources.get(api_version="apps/v1", kind="Deployment")

    async def apply(body: dict[str, Any]) -> Any:
        return await dynamic.server_side_apply(
            deployments, body, namespace="bench", field_manager="bench", force_conflicts=True
        )

    async def items() -> int:
        return len((await dynamic.get(deployments, namespace="bench", limit=500)).items)

    async def watch() -> int:
        count = 0
        async for event in dynamic.watch(
            deployments, namespace="bench", resource_version="5000", timeout=60
        ):
            count += bool(event["raw_object"]["metadata"])
        return count

    return apply, items, watch, client.close


async def our_client(url: str) -> Operations:
    from kubernetes.aio.client import Configuration

    from fleet_kube.client import KubeClient
    from fleet_kube.connection import Connection
    from fleet_kube.kind import Kind

    kind = Kind("apps/v1", "Deployment", "deployments")
    client = KubeClient(Connection(Configuration(host=url)), "bench")

    async def apply(body: dict[str, Any]) -> Any:
        return await client.apply(kind, body, force=True)

    async def items() -> int:
        return len(await client.items(kind, "bench"))

    async def watch() -> int:
        count = 0
        async for _, item in client.watch(kind, "bench", "", "5000", 60):
            count += bool(item["metadata"])
        return count

    return apply, items, watch, client.close


MAKERS = {
    "aiohttp": aiohttp_client, "httpx": httpx_client, "raw": raw_client, "typed": typed_client,
    "dynamic": dynamic_client, "ours": our_client,
}  # fmt: skip


def memory(name: str) -> float:
    """MiB of this process, from /proc."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


async def operations(maker: str, url: str, before: float) -> dict[str, float]:
    """CPU milliseconds of each operation of one client."""
    started = time.process_time()
    apply, items, watch, close = await MAKERS[maker](url)
    await apply(deployment(0))  # imports of the first call count as import
    found = {"import s": time.process_time() - started, "import MiB": memory("VmRSS") - before}
    body = deployment(0)

    async def several() -> None:
        for _ in range(APPLIES // AT_ONCE):
            await apply(body)

    started = time.process_time()
    await asyncio.gather(*(several() for _ in range(AT_ONCE)))
    found["apply ms"] = (time.process_time() - started) * 1000 / APPLIES
    started = time.process_time()
    for _ in range(LISTS):
        assert await items() == PAGE
    found["list of 500 ms"] = (time.process_time() - started) * 1000 / LISTS
    started = time.process_time()
    assert await watch() == EVENTS
    found["event ms"] = (time.process_time() - started) * 1000 / EVENTS
    found["peak MiB"] = memory("VmHWM")
    await close()
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asyncio.run(operations(*options.one, memory("VmRSS")))))
        return
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=stub, args=(there,), daemon=True)
    server.start()
    url = here.recv()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.clients}
    for _ in range(options.rounds):
        for name in options.clients:
            done = subprocess.run([sys.executable, __file__, "--one", name, url],
                                  check=True, capture_output=True)  # fmt: skip
            found[name].append(json.loads(done.stdout))
    print(f"| client | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name, rounds in found.items():
        cells = [f"{statistics.median(row[column] for row in rounds):.2f}" for column in COLUMNS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
