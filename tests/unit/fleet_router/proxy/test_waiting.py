"""The estimate of how long a model takes to start."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import NotReady
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy import waiting
from fleet_router.proxy.waiting import Wait, WaitingRoom, WaitSettings
from fleet_router.routing.table import LiveRoutes, Origin, Route, RouteTable

ORIGIN = Origin("ns", "cold")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1e9 + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    return made


async def test_the_time_of_a_wait_ends_with_its_last_request(clock: Clock) -> None:
    route = Route(ModelSpec.model_validate({"model": "acme/cold"}), cold_seconds=60.0)
    routes = LiveRoutes()
    routes.table = RouteTable.build([route])
    room = WaitingRoom(routes, WaitSettings(seconds=600), RouterMetrics())

    async def enter() -> Wait:
        wait = Wait(room, route)
        await wait.wait(route, 0.0)
        return wait

    first, second = await enter(), await enter()
    clock.now += 20
    assert room.expected_wait(route) == 40
    first.leave()
    assert room.expected_wait(route) == 40
    second.leave()
    assert room.expected_wait(route) == 60
    clock.now += 1000
    third = await enter()
    clock.now += 10
    assert room.expected_wait(route) == 50
    third.served()
    assert room.start_seconds["acme/cold"] == 10
    assert not room.since
    assert not room.waiting


def test_a_model_that_waits_for_others_to_yield_is_not_expected_earlier(clock: Clock) -> None:
    spec = ModelSpec.model_validate({"model": "acme/cold"})
    route = Route(spec, cold_seconds=60.0, ready_at=1e9 + clock.now + 25)
    room = WaitingRoom(LiveRoutes(), WaitSettings(), RouterMetrics())
    assert room.expected_wait(route) == 25
    clock.now += 24.5
    assert room.expected_wait(route) == 1
    clock.now += 1
    assert room.expected_wait(route) == 60  # there is room: what its start takes


@pytest.mark.parametrize(
    ("spec", "phase", "origin", "refused"),
    [
        ({"stopped": True}, None, ORIGIN, True),
        ({"stopped": True, "replicas": 2}, Phase.READY, ORIGIN, True),
        ({"replicas": 0}, Phase.SCALED_TO_ZERO, ORIGIN, False),
        ({"replicas": 0}, Phase.STOPPED, ORIGIN, False),  # as an older operator calls it
        ({}, Phase.STOPPED, ORIGIN, False),  # started again, which the status does not say yet
        ({"replicas": 0}, None, None, True),  # local mode: nothing raises it
        ({"replicas": 0, "scaleToZeroAfter": 9}, Phase.SCALED_TO_ZERO, None, False),
        ({"replicas": 0, "yieldsAfter": 9}, Phase.SCALED_TO_ZERO, None, False),
    ],
)
async def test_only_stopped_models_refuse_requests(
    spec: dict[str, Any], phase: Phase | None, origin: Origin | None, refused: bool
) -> None:
    parsed = ModelSpec.model_validate({"model": "acme/cold", **spec})
    route = Route(parsed, origin=origin, phase=phase)
    routes = LiveRoutes()
    routes.table = RouteTable.build([route])
    wait = Wait(WaitingRoom(routes, WaitSettings(seconds=600), RouterMetrics()), route)
    if refused:
        with pytest.raises(NotReady, match="is stopped"):
            await wait.wait(route, 0.0)
    else:
        assert await wait.wait(route, 0.0) is route
