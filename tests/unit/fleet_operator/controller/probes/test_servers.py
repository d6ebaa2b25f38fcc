"""Which servers are probed, and how invalid responses are handled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fleet_operator.controller.probes.servers import TRIES, due, fetch
from fleet_operator.resources.views import PodView
from fleet_operator.server_report import ServerReport
from support.aiohttp_server import served
from support.operator_objects import pod

READY = {"uid-m-1": ServerReport("ready")}


@pytest.mark.parametrize(
    ("raw", "reports", "tries", "asked"),
    [
        (pod(), {}, {}, True),
        (pod(), {"uid-m-1": ServerReport("loading")}, {}, True),
        (pod(running=False), {}, {}, False),
        (pod(node=""), {}, {}, False),
        (pod(deleting=True), {}, {}, False),
        (pod(labels={"modelfleet.dev/inferencemodel": ""}), {}, {}, False),
        (pod(ready=True), {}, {}, True),
        (pod(ready=True), {"uid-m-1": ServerReport("warming")}, {}, True),
        (pod(ready=True), READY, {}, False),
        (pod(ready=True), {}, {"uid-m-1": TRIES}, False),
        (pod(), READY, {}, True),
    ],
)
def test_which_servers_are_probed(
    raw: dict[str, Any], reports: dict[str, ServerReport], tries: dict[str, int], asked: bool
) -> None:
    assert bool(list(due([PodView.parse(raw)], reports, tries))) is asked


@pytest.fixture
async def server() -> AsyncIterator[tuple[dict[str, Any], PodView]]:
    """A server on the loopback whose response the test sets, as a pod."""
    response: dict[str, Any] = {}

    async def ready(_: web.Request) -> web.Response:
        return web.Response(**response)

    async with served(ready, "/readyz") as port:
        yield response, replace(PodView.parse(pod()), ip="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("response", "report"),
    [
        ({"text": '{"status": "loading"}', "status": 503}, ServerReport("loading")),
        ({"text": '{"status": "ready", "device": "cuda:0"}'}, ServerReport("ready", "", "cuda:0")),
        ({"text": "not JSON"}, None),
        ({"text": '["ready"]'}, None),
        ({"status": 404, "text": "{}"}, None),
        ({"status": 302, "headers": {"location": "http://127.0.0.1:1/"}}, None),
        ({"text": '{"status": "ready", "x": "' + "x" * 100_000 + '"}'}, None),
    ],
)
async def test_responses_are_parsed_or_ignored(
    server: tuple[dict[str, Any], PodView], response: dict[str, Any], report: ServerReport | None
) -> None:
    given, view = server
    given.update(response)
    async with aiohttp.ClientSession() as http:
        assert await fetch(http, view) == report


async def test_an_unreachable_server_has_no_report() -> None:
    listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    async with aiohttp.ClientSession() as http:
        gone = replace(PodView.parse(pod()), ip="127.0.0.1", port=port)
        assert await fetch(http, gone) is None
