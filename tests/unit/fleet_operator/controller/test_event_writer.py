"""Events that are written after the reconciles, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller import event_writer
from fleet_operator.controller.event_writer import EventWriter, manifest
from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed
from support import waiting
from support.operator_objects import model
from support.recording_api import Recorder

Observe = Callable[..., Observed]


@asynccontextmanager
async def running(writer: EventWriter) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def written(api: Recorder, number: int) -> None:
    await waiting.until_async(lambda: len(api.asked) >= number)


def ready(number: int = 1) -> tuple[Event, ...]:
    return (Event("Normal", "Ready", "x"),) * number


async def test_events_are_written_after_they_were_added(observe: Observe) -> None:
    api = Recorder()
    writer = EventWriter(cast(KubeClient, api), lambda: 1)
    async with running(writer):
        writer.add(observe(model()), ready())
        assert api.asked == []
        await written(api, 1)
        writer.add(observe(model()), ready(2))
        await written(api, 3)
    assert api.asked == [("create", "Event", "Ready")] * 3


async def test_a_refused_event_is_not_retried(observe: Observe) -> None:
    api = Recorder()
    api.refuse["Event"] = ApiError(403, "Forbidden", "no")
    writer = EventWriter(cast(KubeClient, api), lambda: 0)
    async with running(writer):
        writer.add(observe(model()), ready(2))
        await written(api, 2)
        await asyncio.sleep(0.02)
    assert len(api.asked) == 2


async def test_the_writer_survives_an_unexpected_error(
    observe: Observe, caplog: pytest.LogCaptureFixture
) -> None:
    api = Recorder()
    api.refuse["Event"] = cast(ApiError, RuntimeError("closed"))
    writer = EventWriter(cast(KubeClient, api), lambda: 0)
    async with running(writer):
        writer.add(observe(model()), ready(2))
        await written(api, 2)
    assert [record.msg for record in caplog.records] == ["event_broken"] * 2


async def test_events_leave_a_busy_api_server_to_the_models(
    observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "BUSY_SECONDS", 0.2)
    api, depth = Recorder(), event_writer.BUSY_DEPTH
    writer = EventWriter(cast(KubeClient, api), lambda: depth)
    async with running(writer):
        writer.add(observe(model()), ready(100))
        await written(api, 1)
        assert len(api.asked) == 1
        depth = 0
        await written(api, 100)


async def test_the_number_of_waiting_events_is_bounded(
    observe: Observe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_writer, "LIMIT", 3)
    api = Recorder()
    writer = EventWriter(cast(KubeClient, api), lambda: 0)
    writer.add(observe(model()), ready(2))
    writer.add(observe(model()), (Event("Warning", "LoadFailed", "x"),) * 2)
    assert [record.msg for record in caplog.records] == ["events_dropped"]
    async with running(writer):
        await written(api, 3)
        await asyncio.sleep(0.02)
    assert [reason for _, _, reason in api.asked] == ["Ready", "LoadFailed", "LoadFailed"]


def test_an_event_is_about_the_resource(observe: Observe) -> None:
    made = manifest(observe(model()), Event("Warning", "LoadFailed", "x" * 5000))
    assert made["involvedObject"]["uid"] == "uid-m"
    assert len(made["message"]) == 1024
    assert made["metadata"]["name"].startswith("m.")
    longer = manifest(observe(model()), Event("Warning", "LoadFailed", "ä€" * 500))
    assert len(longer["message"].encode()) == 1022  # of whole characters
