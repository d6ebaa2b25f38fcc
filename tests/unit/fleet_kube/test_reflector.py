"""Lists and watches of one kind, with everything that may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from fleet_kube import reflector as reflecting
from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable
from fleet_kube.kind import Kind
from fleet_kube.reflector import Reflector, uid_of

Json = dict[str, Any]
POD = Kind("v1", "Pod", "pods")


def item(uid: str, version: int = 1) -> Json:
    return {"metadata": {"uid": uid, "name": uid, "resourceVersion": str(version)}}


class Script:
    """Each list and each watch yields what the script has next; an error is raised."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.asked: list[str] = []
        self.done = asyncio.Event()

    async def pages(
        self, kind: Any, namespace: str | None, selector: str
    ) -> AsyncIterator[tuple[list[Json], str]]:
        for page in await self._next("list"):
            if isinstance(page, Exception):
                raise page
            yield page, "10"

    async def watch(
        self, kind: Any, namespace: str | None, selector: str, version: str, seconds: int
    ) -> AsyncIterator[tuple[str, Json]]:
        for event in await self._next(f"watch {version}"):
            if isinstance(event, Exception):
                raise event
            yield event

    async def _next(self, what: str) -> Any:
        if not self.steps:
            self.done.set()
            await asyncio.Event().wait()
        self.asked.append(what)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


class Seen:
    def __init__(self) -> None:
        self.now: set[str] = set()
        self.gone: list[str] = []
        self.kinds: list[tuple[Any, Any]] = []

    def put(self, raw: Json) -> None:
        if raw["metadata"]["uid"] == "broken":
            raise KeyError("spec")
        self.now.add(raw["metadata"]["uid"])
        self.kinds.append((raw.get("apiVersion"), raw.get("kind")))

    def drop(self, raw: Json) -> None:
        self.now.remove(raw["metadata"]["uid"])

    def lacks(self, uid: str) -> None:
        self.gone.append(uid)
        self.now.discard(uid)


async def follow(script: Script, seen: Seen, namespace: str | None = None) -> None:
    """Run a reflector until the script is done."""
    api = cast(KubeClient, script)
    one = Reflector(api, POD, namespace, seen.put, seen.drop, seen.lacks, uid_of)
    task = asyncio.create_task(one.follow())
    async with asyncio.timeout(10):
        await script.done.wait()
    assert not task.done()
    task.cancel()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, which take no time."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def instantly(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(reflecting.asyncio, "sleep", instantly)
    return waits


async def test_pages_and_events_are_delivered() -> None:
    seen = Seen()
    script = Script(
        [[item("a"), item("b")], [item("c")]],
        [("ADDED", item("d", 11)), ("DELETED", item("a", 12)), ("BOOKMARK", item("", 20))],
    )
    await follow(script, seen)
    assert seen.now == {"b", "c", "d"}
    assert script.asked == ["list", "watch 10"]
    assert seen.gone == []


async def test_a_watch_goes_on_where_the_last_one_ended() -> None:
    seen = Seen()
    script = Script([[]], [("ADDED", item("d", 11))], ApiUnreachable("cut"), [], [])
    await follow(script, seen)
    assert script.asked == ["list", "watch 10", "watch 11", "watch 11", "watch 11"]


async def test_a_relist_reports_what_was_deleted_meanwhile() -> None:
    seen = Seen()
    expired = ApiError(410, "Expired", "too old")
    script = Script([[item("a"), item("b")]], [("ADDED", item("c", 11)), expired], [[item("b")]])
    await follow(script, seen)
    assert script.asked == ["list", "watch 10", "list"]
    assert (seen.now, set(seen.gone)) == ({"b"}, {"a", "c"})


async def test_a_deleted_namespace_is_retried_slowly(slept: list[float]) -> None:
    seen = Seen()
    forbidden = ApiError(403, "Forbidden", "no")
    script = Script(forbidden, forbidden, [[item("a")]], [])
    await follow(script, seen, "ns")
    assert slept == [60.0, 60.0]
    assert seen.now == {"a"}


async def test_a_refusal_in_all_namespaces_is_retried_with_backoff(slept: list[float]) -> None:
    seen = Seen()
    await follow(Script([[item("a")]], ApiError(403, "Forbidden", "no"), [[item("b")]], []), seen)
    assert (seen.now, seen.gone) == ({"b"}, ["a"])
    assert max(slept) < 1


async def test_a_list_that_fails_between_pages_starts_over() -> None:
    seen = Seen()
    script = Script([[item("a")], ApiError(410, "Expired", "x")], [[item("b")]], [])
    await follow(script, seen)
    assert script.asked == ["list", "list", "watch 10"]
    assert (seen.now, seen.gone) == ({"b"}, ["a"])


async def test_other_errors_are_retried_with_backoff_and_retry_after(slept: list[float]) -> None:
    seen = Seen()
    busy = ApiError(429, "TooManyRequests", "later", retry_after=7.0)
    script = Script(
        ApiUnreachable("x"), ApiError(500, "", "x"), busy, RecursionError("x"), [[]], []
    )
    await follow(script, seen)
    assert len(slept) == 4
    assert slept[2] == 7.0
    assert max(slept) <= 10.0


async def test_an_object_that_cannot_be_read_is_left_out() -> None:
    seen = Seen()
    await follow(Script([[item("broken"), item("a")]], [("MODIFIED", item("broken", 12))]), seen)
    assert seen.now == {"a"}


async def test_listed_objects_have_a_kind_as_watched_ones_have() -> None:
    """Without it, every child would differ from what the operator applied."""
    seen = Seen()
    await follow(Script([[item("a")]]), seen)
    assert seen.kinds == [("v1", "Pod")]
