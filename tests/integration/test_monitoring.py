"""Dashboards and alerts of the chart in a real Prometheus, with traffic."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_web import tracing
from support import dashboards
from support.busy_fleet import BusyFleet, busy_fleet
from support.otlp_collector import Received, collector
from support.prometheus import Prometheus, prometheus
from support.required import require_program
from support.tiny_bert import encoder_tensors, tiny_encoder
from support.waiting import until

__all__ = ["encoder_tensors", "tiny_encoder"]

ALERTS = dashboards.FOLDER.parent / "alerts.yaml"
CASES = Path(__file__).with_name("alert_cases.yaml")
RATE = "10s"
MOST_ROUNDS = 100


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[tracing.Tracing, list[Received]]]:
    spans: list[Received] = []
    with collector(spans) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        made = tracing.load({"OTEL_EXPORTER_OTLP_ENDPOINT": address}, "test")
        assert made is not None
        yield made, spans
        made.close()


def queries() -> dict[str, str]:
    """The queries of all panels by their places, with values for Grafana's variables."""
    found = {}
    for path in sorted(dashboards.FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", RATE)
                expression = expression.replace("$__range", "1m")
                place = f"{path.stem}: {panel['title']} {target['refId']}"
                found[place] = re.sub(r"\$\w+", ".*", expression)
    return found


def has_data(found: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(sample["value"][1])) for sample in found)


def test_every_panel_has_data_and_latencies_lead_to_traces(
    listen: Any, tiny_encoder: Callable[..., Path], tmp_path: Path, traced: Any
) -> None:
    require_program("prometheus")
    made, spans = traced
    with (
        busy_fleet(listen, tmp_path, tiny_encoder(), made) as fleet,
        prometheus(tmp_path, fleet.targets) as server,
    ):
        without = wait_for_data(fleet, server)
        assert without == {}
        healthy = dict.fromkeys((one.job for one in fleet.targets), "")
        until(lambda: server.targets() == healthy, state=server.targets)
        for path in dashboards.FOLDER.glob("*.json"):
            for variable in json.loads(path.read_text())["templating"]["list"][1:]:
                metric, label = re.findall(r"\w+", variable["query"])[1:]
                assert server.label_values(metric, label), variable
        linked = {
            one["labels"]["trace_id"]
            for metric in ("modelfleet_router_first_byte_seconds_bucket",
                           "modelfleet_time_to_first_token_seconds_bucket")
            for one in server.exemplars(metric)
        }  # fmt: skip
    made.close()
    assert linked
    assert linked <= {span.trace for span in spans}


def wait_for_data(fleet: BusyFleet, server: Prometheus) -> dict[str, str]:
    """The queries that have no data after rounds of requests."""
    left = queries()
    assert len(left) > 60
    for _ in range(MOST_ROUNDS):
        fleet.send()
        left = {place: one for place, one in left.items() if not has_data(server.query(one))}
        if not left:
            break
    return left


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    require_program("promtool")
    rules = tmp_path / "alerts.yaml"
    rules.write_text(ALERTS.read_text().replace("RELEASE-", "modelfleet-"))
    names = {
        rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
    }  # fmt: skip
    cases = yaml.safe_load(CASES.read_text())
    checked = [case for test in cases["tests"] for case in test["alert_rule_test"]]
    for fires in (True, False):
        covered = {case["alertname"] for case in checked if bool(case.get("exp_alerts")) is fires}
        assert covered == names, f"alerts without a case that {'fires' if fires else 'does not'}"
    written = tmp_path / "cases.yaml"
    written.write_text(yaml.safe_dump(cases | {"rule_files": [str(rules)]}))
    for command in (["check", "rules", str(rules)], ["test", "rules", str(written)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
