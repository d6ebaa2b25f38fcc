"""Files of the chart: copies are fresh; dashboards and alerts query existing metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from harness import chart_package
from harness.helm import Helm
from harness.paths import REPOSITORY
from support import dashboards

COPIES = {
    "files/inferencemodels.modelfleet.dev.yaml": "crds/inferencemodels.modelfleet.dev.yaml",
    "files/operator-rbac.yaml": "operator/rbac.yaml",
    "files/router-rbac.yaml": "services/fleet_router/rbac.yaml",
    "files/english.ogg": "docs/samples/english.ogg",
}
TARGET = frozenset({"namespace", "pod", "job", "le"})
"""Labels added by Prometheus, and those of histogram buckets."""
METRIC = re.compile(r"\b(?:modelfleet|embedding)_[a-z_]+\b|\bup\b")


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_fresh(chart: Path, copy: str) -> None:
    fresh = (chart / copy).read_bytes() == (REPOSITORY / COPIES[copy]).read_bytes()
    assert fresh, f"run `make chart`: {copy} is not {COPIES[copy]}"


def test_the_chart_has_the_version_of_the_package(chart: Path) -> None:
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    package = (REPOSITORY / "pyproject.toml").read_text()
    assert f'version = "{described["appVersion"]}"' in package


def test_a_published_chart_names_its_source(renderer: Helm, tmp_path: Path) -> None:
    made = chart_package.package(renderer, tmp_path, "https://code.example.com/fleet")
    assert "- https://code.example.com/fleet" in renderer("show", "chart", str(made))
    with pytest.raises(ValueError, match="https"):
        chart_package.package(renderer, tmp_path, "git@code.example.com:fleet")


def queries(chart: Path) -> Iterator[tuple[str, str]]:
    """Every query of dashboards and alerts, with its location."""
    for path in sorted((chart / "files" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"])
                assert found is not None, variable["query"]
                yield f"{path.name}: {variable['name']}", found[1]
    for rule in alerts(chart):
        yield rule["alert"], rule["expr"]


def alerts(chart: Path) -> list[dict[str, Any]]:
    text = (chart / "files" / "alerts.yaml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_every_query_is_promql(chart: Path) -> None:
    for where, query in queries(chart):
        plain = query.replace("$__rate_interval", "5m").replace("$__range", "1h")
        try:
            promql_parser.parse(plain)
        except ValueError as error:
            pytest.fail(f"{where}: {error}: {query}")


def test_queried_metrics_and_labels_exist(chart: Path) -> None:
    known = served()
    assert "key" in known["modelfleet_router_requests_total"]
    for where, query in queries(chart):
        names = METRIC.findall(re.sub(r"\{[^}]*\}|by \([^)]*\)", "", query))
        assert names, where
        for name in names:
            assert name in known, f"{where}: {name}"
        labels = TARGET.union(*(known[name] for name in names))
        used = re.findall(r"(\w+)=", "".join(re.findall(r"\{([^}]*)\}", query)))
        used += re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query)))
        assert set(used) <= labels, f"{where}: {set(used) - labels}"


def test_dashboards_are_fresh(chart: Path) -> None:
    written = {path.name: path.read_text() for path in (chart / "files/dashboards").glob("*.json")}
    fresh = {name: dashboards.text(board) for name, board in dashboards.boards().items()}
    assert written == fresh, "run `make chart`"


def test_a_grid_has_no_gaps_and_no_overlaps() -> None:
    for board in dashboards.boards().values():
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not taken & cells
            assert at["x"] + at["w"] <= dashboards.COLUMNS
            taken |= cells


def test_every_alert_is_documented(chart: Path) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    for rule in alerts(chart):
        assert f"`{rule['alert']}`" in page
        assert rule["annotations"]["summary"]


def test_an_alert_on_what_a_restart_resets_looks_back(chart: Path) -> None:
    """/livez fails within a minute of a stale watch, and the restarted operator begins with 0."""
    (rule,) = [rule for rule in alerts(chart) if "watch_stale" in rule["expr"]]
    assert "for" not in rule
    assert re.search(r"max_over_time\(modelfleet_operator_watch_stale\[\d+m\]\)", rule["expr"])


def served() -> dict[str, frozenset[str]]:
    """Names and labels of the samples of operator, router and server, and Prometheus' `up`."""
    from fleet_contract.spec import ModelSpec
    from fleet_operator import condition_metrics
    from fleet_operator.decide.weights.prefetch_progress import Progress
    from fleet_operator.metrics import Metrics as OperatorMetrics
    from fleet_router.metrics import RouterMetrics
    from fleet_server.state import ServerState

    operator = OperatorMetrics()
    operator.gauge("modelfleet_operator_queue_depth", "", lambda: 0)
    operator.gauge("modelfleet_operator_queue_oldest_seconds", "", lambda: 0)
    operator.gauge("modelfleet_operator_release_models_refused", "", lambda: 0)
    operator.phases(lambda: ["Ready"])
    operator.prefetched(lambda: {("ns", "profile"): Progress()})
    router, server = RouterMetrics(), ServerState(ModelSpec(model="m"), 1)
    router.watch_age(lambda: 0)
    router.server_prices(lambda: [("m", "EUR", 1.0)])
    labels = frozenset({"namespace", "inferencemodel", "condition", "status"})
    found: dict[str, frozenset[str]] = {"up": frozenset(), condition_metrics.NAME: labels}
    for registry in (operator.registry, router.registry, server.metrics.registry):
        for name, collector in registry._names_to_collectors.items():
            found[name] = frozenset(getattr(collector, "_labelnames", ()))
        for family in registry.collect():
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found
