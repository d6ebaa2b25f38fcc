"""The load of models from the metrics of routers."""

from __future__ import annotations

from fleet_operator.decide.autoscale import Load
from fleet_operator.decide.load import FleetLoad, RouterReport, parse_metrics

TEXT = """\
# HELP modelfleet_router_in_flight Requests whose model is known.
# TYPE modelfleet_router_in_flight gauge
modelfleet_router_in_flight{model="a/b"} 3.0
modelfleet_router_in_flight{model="say \\"x\\""} 1.0
modelfleet_router_requests_total{code="200",model="a/b",path="/v1/chat/completions"} 10.0
modelfleet_router_requests_total{code="429",model="a/b",path="/v1/chat/completions"} 2.0
modelfleet_router_request_seconds_count{model="a/b",path="/p"} 12.0
modelfleet_router_in_flight 7.0
other{model="a/b"} 5.0
"""


def test_metrics_of_one_router() -> None:
    assert parse_metrics(TEXT.splitlines()) == {"a/b": (3.0, 12), 'say "x"': (1.0, 0)}


def test_metrics_written_by_the_router_are_parsed() -> None:
    from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

    registry = CollectorRegistry()
    Gauge("modelfleet_router_in_flight", "x", ["model"], registry=registry).labels("m").set(2)
    labels = ["model", "path", "code"]
    requests = Counter("modelfleet_router_requests", "x", labels, registry=registry)
    requests.labels("m", "/p", "200").inc(5)
    assert parse_metrics(generate_latest(registry).decode().splitlines()) == {"m": (2.0, 5)}


def test_routers_are_summed() -> None:
    fleet = FleetLoad((
        RouterReport("ns", "r1", {"m": (1, 10)}),
        RouterReport("ns", "r2", {"m": (2, 20), "n": (5, 5)}),
        RouterReport("other", "r3", {"m": (100, 100)}),
    ))  # fmt: skip
    assert fleet.of("ns", "m") == Load(3, 30, complete=True)
    assert fleet.of("ns", "unused") == Load(0, 0, complete=True)
    assert fleet.of("far", "m") == Load(103, 130, complete=True)


def test_one_unreachable_router_makes_the_sum_incomplete() -> None:
    fleet = FleetLoad((RouterReport("ns", "r1", {"m": (1, 10)}), RouterReport("ns", "r2", None)))
    assert fleet.of("ns", "m") == Load(1, 10, complete=False)


def test_without_routers_the_load_is_unknown() -> None:
    assert FleetLoad().of("ns", "m") is None


def test_lines_without_a_sample_of_a_model_are_skipped() -> None:
    lines = [
        "modelfleet_router_in_flight 7",
        'modelfleet_router_in_flight{other="x"} 7',
        'modelfleet_router_in_flight{model="m"} 2.0',
    ]
    assert parse_metrics(lines) == {"m": (2.0, 0)}
