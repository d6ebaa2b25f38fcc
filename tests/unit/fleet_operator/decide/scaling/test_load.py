"""The load of models from the reports of routers."""

from __future__ import annotations

from fleet_contract.api.load_report import ReportedLoad
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.scaling.load import FORGET_SECONDS, FleetLoad
from support.operator_objects import NOW

BUSY = {"m": ReportedLoad(3, 0.0)}


def test_routers_are_summed_and_the_last_request_of_any_counts() -> None:
    fleet = FleetLoad().updated(
        {"r1": {"m": ReportedLoad(1, 0.0)},
         "r2": {"m": ReportedLoad(2, 0.0), "n": ReportedLoad(0, 40.0)},
         "r3": {"n": ReportedLoad(0, 9.0)}}, NOW
    )  # fmt: skip
    assert fleet.of("m") == Load(3, NOW, complete=True)
    assert fleet.of("n") == Load(0, NOW - 9, complete=True)
    assert fleet.of("unused") == Load(0, None, complete=True)


def test_without_routers_the_load_is_unknown() -> None:
    assert FleetLoad().of("m") is None
    assert FleetLoad().updated({"r1": BUSY}, NOW).updated({}, NOW + 1).of("m") is None


def test_a_silent_router_keeps_its_last_load_and_is_forgotten_after_a_minute() -> None:
    fleet = FleetLoad().updated({"r1": BUSY, "r2": {}}, NOW)
    for second in (1, FORGET_SECONDS - 1):
        fleet = fleet.updated({"r1": None, "r2": {}}, NOW + second)
        assert fleet.of("m") == Load(3, NOW, complete=False)
    for second in (FORGET_SECONDS, 10 * FORGET_SECONDS):
        fleet = fleet.updated({"r1": None, "r2": {}}, NOW + second)
        assert fleet.of("m") == Load(0, NOW, complete=True)
        assert fleet.forgotten() == {"r1"}
    assert fleet.updated({"r1": BUSY, "r2": {}}, NOW + 700).of("m") == Load(3, NOW + 700, True)


def test_a_router_that_never_responded_is_forgotten_too() -> None:
    fleet = FleetLoad().updated({"r1": None, "r2": {}}, NOW)
    assert fleet.of("m") == Load(0, None, complete=False)
    fleet = fleet.updated({"r1": None, "r2": {}}, NOW + FORGET_SECONDS)
    assert fleet.of("m") == Load(0, None, complete=True)


def test_the_load_is_unknown_once_every_router_is_forgotten() -> None:
    fleet = FleetLoad().updated({"r1": BUSY}, NOW).updated({"r1": None}, NOW + FORGET_SECONDS)
    assert fleet.of("m") is None


def test_the_last_request_survives_the_router_that_reported_it() -> None:
    fleet = FleetLoad().updated({"r1": {"m": ReportedLoad(0, 5.0)}}, NOW)
    fleet = fleet.updated({"r2": {}}, NOW + 100)
    assert fleet.of("m") == Load(0, NOW - 5, complete=True)


def test_the_same_request_reported_again_has_the_same_time() -> None:
    fleet = FleetLoad().updated({"r1": {"m": ReportedLoad(0, 5.0)}}, NOW)
    again = fleet.updated({"r1": {"m": ReportedLoad(0, 6.8)}}, NOW + 2)
    assert again.of("m") == fleet.of("m")
