"""The operator's loops: one that ends is noticed."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any, cast

import pytest

from fleet_kube import retries
from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.kind import Kind
from fleet_operator import run
from fleet_operator.metrics import Metrics
from fleet_operator.run import own_account, sees_nodes, supervised
from fleet_operator.settings import OperatorSettings
from support.operator_objects import settings_of


@pytest.mark.parametrize("error", [RecursionError("too deep"), None], ids=["raises", "returns"])
async def test_a_loop_that_ends_is_counted_and_the_others_continue(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, rounds = Metrics(), asyncio.Queue[None]()

    async def ends() -> None:
        if error is not None:
            raise error

    async def goes_on() -> None:
        while True:
            rounds.put_nowait(None)
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        tasks = [asyncio.create_task(one)
                 for one in supervised({"ends": ends, "goes_on": goes_on}, metrics)]  # fmt: skip
        async with asyncio.timeout(30):
            for _ in range(10):
                await rounds.get()
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    counted = [line for line in metrics.render().decode().splitlines()
               if line.startswith("modelfleet_operator_loop_restarts_total")]  # fmt: skip
    assert counted == ['modelfleet_operator_loop_restarts_total{loop="ends"} 1.0']
    assert "loop_ended" in [record.getMessage() for record in caplog.records]


class Nodes:
    """Answers each list of nodes with the next of `answers`."""

    def __init__(self, *answers: KubeError | None) -> None:
        self._answers = list(answers)

    async def items(self, *_: Any, **__: Any) -> list[Any]:
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer
        return []


@pytest.mark.parametrize(
    ("answers", "seen", "waits"),
    [
        ((None,), True, []),
        ((ApiError(403, "Forbidden", "no"),), False, []),
        ((ApiError(429, "TooManyRequests", "", 7.0), None), True, [7.0]),
        ((ApiError(500, "", "webhook"), ApiError(429, "", ""), None), True, [2.0, 2.0]),
        ((ApiUnreachable("refused"), ApiError(403, "Forbidden", "no")), False, [2.0]),
        ((ApiError(401, "Unauthorized", "expired"), None), True, [2.0]),
    ],
)
async def test_only_a_refusal_leaves_the_capacity_unknown(
    answers: tuple[KubeError | None, ...],
    seen: bool,
    waits: list[float],
    settings: OperatorSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(run.asyncio, "sleep", sleep)
    assert await sees_nodes(cast(KubeClient, Nodes(*answers)), settings) is seen
    assert slept == waits


async def test_with_watched_namespaces_nodes_are_not_listed() -> None:
    some = settings_of(WATCH_NAMESPACES="a,b")
    assert not await sees_nodes(cast(KubeClient, Nodes()), some)


class Reviews:
    """Answers each SelfSubjectReview with the next of `answers`: an error, or its status."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    async def create(self, kind: Kind, manifest: dict[str, Any]) -> dict[str, Any]:
        assert (kind.kind, manifest["kind"]) == ("SelfSubjectReview", "SelfSubjectReview")
        answer = self._answers.pop(0)
        if isinstance(answer, KubeError):
            raise answer
        return {"status": answer}


USER = {"username": "system:serviceaccount:fleet:operator", "uid": "1"}
OWNER = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "operator", "uid": "1"}


@pytest.mark.parametrize(
    ("answers", "owner"),
    [
        (({"userInfo": USER},), OWNER),
        ((ApiError(503, "", "starting"), {"userInfo": USER}), OWNER),
        (({"userInfo": {**USER, "username": "system:serviceaccount:other:operator"}},), None),
        (({"userInfo": {**USER, "username": "kubernetes-admin"}},), None),
        (({"userInfo": {**USER, "uid": ""}},), None),
        (({"userInfo": {"username": USER["username"]}},), None),
        (({"userInfo": {}},), None),
        ((None,), None),
        ((ApiError(404, "NotFound", "unknown kind"),), None),
        ((ApiError(403, "Forbidden", "no"),), None),
    ],
)
async def test_leases_are_owned_by_the_account_that_the_operator_runs_as(
    answers: tuple[Any, ...], owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.0)
    assert await own_account(cast(KubeClient, Reviews(*answers)), "fleet") == owner


async def together(ends: str, error: Exception | None = None) -> tuple[bool, asyncio.Event]:
    """The result of `_together` if the coroutine `ends` ends, with `error`."""
    stop, cancelled = asyncio.Event(), []

    async def one(name: str) -> None:
        try:
            if name != ends:
                await asyncio.Event().wait()
            elif error is not None:
                raise error
        finally:
            cancelled.append(name)

    try:
        return await run._together(one("kopf"), stop, [one("a"), one("b")]), stop
    finally:
        assert sorted(cancelled) == ["a", "b", "kopf"]


@pytest.mark.parametrize(("ends", "changed"), [("kopf", False), ("a", True)])
async def test_only_a_signal_ends_the_operator(ends: str, changed: bool) -> None:
    """kopf ends at a signal. If it is cancelled for a change, the flag keeps it from killing the
    process."""
    found, stop = await together(ends)
    assert (found, stop.is_set()) == (changed, changed)


@pytest.mark.parametrize("ends", ["kopf", "a"])
async def test_an_error_ends_the_operator(ends: str) -> None:
    with pytest.raises(OSError, match="port"):
        await together(ends, OSError("port taken"))


async def test_signals_end_the_process_while_the_operator_starts_again() -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print)
    await together("a")
    assert not loop.remove_signal_handler(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
