"""List and watch against a scripted API server on a real socket, with rare errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.aio.client import Configuration

from fleet_contract.names import ANNOTATION_WAKE
from fleet_kube import reflector
from fleet_kube.client import KubeClient
from fleet_kube.connection import Connection
from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind
from fleet_router.kube import informer
from fleet_router.kube.informer import Informer
from fleet_router.kube.wake import EVERY_SECONDS, Waker
from fleet_router.routing.table import Origin

Json = dict[str, Any]
THING = Kind("v1", "Thing", "things")


def thing(name: str, version: int) -> Json:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version)}}


def event(kind: str, name: str, version: int) -> Json:
    return {"type": kind, "object": thing(name, version)}


GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}


class Script:
    """Responds to each request with the next entry of the script.

    A dict is the response to a list, a list the events of a watch, an int a status, None a
    connection closed without a response. After the last entry a watch stays open.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.done = asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [int(h.split(":")[1]) for h in head.lower().split("\r\n") if "content-length" in h]
        body = await reader.readexactly(length[0] if length else 0)
        method, target = head.split()[:2]
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        self.asked.append((method, query, body))
        if not self.answers:
            self.done.set()
            await asyncio.sleep(3600)
        answer = self.answers.pop(0)
        if answer is None:
            return False
        status, content = 200, b""
        if isinstance(answer, int):
            status, content = answer, json.dumps({"message": f"scripted {answer}"}).encode()
        elif isinstance(answer, dict):
            content = json.dumps(answer).encode()
        else:
            content = b"".join(json.dumps(each).encode() + b"\n" for each in answer)
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(content)))
        writer.write(content)
        return True


def listed(version: int, *names: str, more: str = "") -> Json:
    meta = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return {"metadata": meta, "items": [thing(name, version) for name in names]}


@asynccontextmanager
async def scripted(*answers: Any) -> AsyncIterator[tuple[Script, KubeClient]]:
    script = Script(*answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = KubeClient(Connection(Configuration(host=f"http://127.0.0.1:{port}")), "router")
    try:
        yield script, client
    finally:
        await client.close()
        server.close()
        for task in script.tasks:
            task.cancel()
        await asyncio.gather(*script.tasks, return_exceptions=True)


async def follow(script: Script, collection: Informer[str]) -> None:
    """Run the informer until the script ends."""
    following = asyncio.create_task(collection.follow())
    async with asyncio.timeout(20):
        await script.done.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "FIRST_DELAY", 0.001)


def names(collection: Informer[str]) -> set[str]:
    return {name for _, name in collection.objects}


Changed = Callable[[tuple[str, str] | None, str | None], None]


def ignore(key: tuple[str, str] | None, name: str | None) -> None:
    """Ignores a change."""


def made(client: KubeClient, changed: Changed = ignore) -> Informer[str]:
    return Informer(client, THING, None, lambda item: item["metadata"]["name"], changed, "x=y")


async def test_pages_are_put_together_and_events_applied() -> None:
    changes: list[tuple[str, str | None] | None] = []

    def changed(key: tuple[str, str] | None, name: str | None) -> None:
        changes.append((key[1], name) if key is not None else None)

    async with scripted(
        listed(5, "a", "b", more="next"),
        listed(5, "c"),
        [event("ADDED", "d", 6), event("DELETED", "a", 7), event("BOOKMARK", "", 9)],
    ) as (script, client):
        collection = made(client, changed)
        assert not collection.synced
        await follow(script, collection)
        assert collection.synced
        assert names(collection) == {"b", "c", "d"}
        listing = [("a", "a"), ("b", "b"), ("c", "c"), None]
        assert changes == [*listing, ("d", "d"), ("a", None)]
        queries = [query for _, query, _ in script.asked]
        assert queries[1]["continue"] == "next"
        assert all(query["labelSelector"] == "x=y" for query in queries)
        assert [query.get("resourceVersion") for query in queries] == [None, None, "5", "9"]
        assert queries[2]["allowWatchBookmarks"] == "true"
        assert 120 <= int(queries[2]["timeoutSeconds"]) <= 180


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("response", [None, 500, 503, 429, 401, []])
async def test_the_watch_resumes_after_an_error(response: Any) -> None:
    async with scripted(
        listed(5, "a"), [event("ADDED", "b", 6)], response, [event("ADDED", "c", 7)]
    ) as (script, client):
        collection = made(client)
        await follow(script, collection)
        assert names(collection) == {"a", "b", "c"}
        assert [q.get("resourceVersion") for _, q, _ in script.asked] == [None, "5", "6", "6", "7"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("gone", [410, [GONE]])
async def test_an_expired_version_is_listed_again_while_the_old_objects_are_kept(
    gone: Any,
) -> None:
    again = {**listed(9, "c"), "items": [thing("b", 5), thing("c", 9)]}
    async with scripted(listed(5, "a", "b"), gone, 500, again) as (script, client):
        seen: list[tuple[str | None, set[str]]] = []

        def changed(key: tuple[str, str] | None, _: str | None) -> None:
            seen.append((key[1] if key is not None else None, names(collection)))

        collection = made(client, changed)
        await follow(script, collection)
        assert seen[2:] == [
            (None, {"a", "b"}),
            ("c", {"a", "b", "c"}),
            ("a", {"b", "c"}),
            (None, {"b", "c"}),
        ], "b has the same version, and is not read again"
        assert collection.synced


@pytest.mark.usefixtures("quick")
async def test_a_list_that_expires_between_pages_is_restarted() -> None:
    async with scripted(listed(5, "a", more="x"), 410, listed(8, "b")) as (script, client):
        collection = made(client)
        await follow(script, collection)
        assert names(collection) == {"b"}


@pytest.mark.usefixtures("quick")
async def test_an_object_that_cannot_be_read_hides_no_other() -> None:
    def read(item: Json) -> str:
        if item["metadata"]["name"] == "bad":
            raise TypeError("bad")
        return str(item["metadata"]["name"])

    async with scripted(
        listed(5, "a", "bad"), [event("ADDED", "bad", 6), event("ADDED", "b", 7)],
        [{"type": "ADDED", "object": {}}], listed(9, "a", "b", "c"),
    ) as (script, client):  # fmt: skip
        collection = Informer(client, THING, None, read, ignore)
        await follow(script, collection)
        assert names(collection) == {"a", "b", "c"}


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the informer, which do not take place."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    for module in (informer, reflector):
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=pause))
    return pauses


@pytest.mark.parametrize("status", [403, 404])
async def test_an_unreadable_namespace_is_empty_and_retried_slowly(
    no_sleep: list[float], status: int
) -> None:
    async with scripted(status, status, status, status) as (script, client):
        collection = made(client)
        await follow(script, collection)
        assert (collection.unreadable, collection.synced, collection.settled) == (True, False, True)
        assert collection.last_response > 0
        assert max(no_sleep[:2]) < 1, "rights take effect with a delay"
        assert min(no_sleep[2:]) >= informer.SLOW_DELAY / 2


async def test_rights_that_take_effect_late_are_no_unreadable_namespace(
    no_sleep: list[float],
) -> None:
    seen: list[bool] = []
    async with scripted(403, 403, listed(5, "a")) as (script, client):
        collection = made(client, lambda *_: seen.append(collection.unreadable))
        await follow(script, collection)
        assert names(collection) == {"a"}
        assert seen == [False, False]


async def test_objects_of_a_namespace_are_kept_for_some_time(
    no_sleep: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(listed(5, "a"), *[403] * 5, listed(9, "b")) as (script, client):
        seen: list[tuple[bool, set[str]]] = []
        collection = made(
            client, lambda *_: seen.append((collection.unreadable, names(collection)))
        )
        await follow(script, collection)
        assert (True, {"a"}) in seen, "a mistake in a role must not end the service"
        assert (collection.unreadable, names(collection)) == (False, {"b"})

    monkeypatch.setattr(informer, "KEPT_SECONDS", 0.0)
    async with scripted(listed(5, "a"), *[403] * 5) as (script, client):
        collection = made(client)
        await follow(script, collection)
        assert (collection.unreadable, names(collection)) == (True, set())


async def test_an_invalid_event_is_an_error() -> None:
    async with scripted([{"no": "event"}]) as (_, client):
        with pytest.raises(KubeError):
            async for _ in client.watch(THING, None, "", "1", 120):
                pass


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (the other side is a socket)
            await asyncio.sleep(0.01)


async def test_the_wake_annotation_is_written_at_most_once_per_interval() -> None:
    async with scripted({"ok": 1}, {"ok": 1}, 403) as (script, client):
        waker = Waker(client)
        for _ in range(100):
            waker.wake(Origin("n", "m"))
        await settled(lambda: len(script.asked) == 1)
        waker.wake(Origin("n", "other", "2001-01-01T00:00:00Z"))
        await settled(lambda: len(script.asked) == 2)
        method, _, body = script.asked[0]
        stamp = json.loads(body)["metadata"]["annotations"][ANNOTATION_WAKE]
        assert method == "PATCH"
        # Another router, which sees what this one wrote, does not write.
        Waker(client).wake(Origin("n", "m", stamp))
        waker.wake(Origin("n", "refused"))
        await settled(lambda: len(script.asked) == 3)
        assert EVERY_SECONDS > 1
