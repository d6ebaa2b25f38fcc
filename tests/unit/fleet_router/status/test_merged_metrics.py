"""Expositions of many servers as one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from fleet_router.status.merged_metrics import Scrape, render

TEXT = (
    "# HELP a_total Things.\n# TYPE a_total counter\n"
    'a_total{{model="{0}"}} 1.0\n'
    '# TYPE h histogram\nh_bucket{{le="1"}} 1.0\nh_bucket{{le="+Inf"}} 2.0\n'
    "h_sum 3.0\nh_count 2.0\n"
)


def test_each_family_and_series_appears_once() -> None:
    own = CollectorRegistry()
    Counter("own", "Ours.", registry=own).inc()
    scrapes = [Scrape("m", f"m-{n}", TEXT.format("m")) for n in range(2)]
    families = {f.name: f for f in text_string_to_metric_families(render(own, scrapes).decode())}
    assert {"own", "a", "h"} <= set(families)
    assert [sample.labels for sample in families["a"].samples] == [
        {"model": "m", "endpoint": "m-0"},
        {"model": "m", "endpoint": "m-1"},
    ]
    assert len(families["h"].samples) == 8


def test_invalid_and_conflicting_metrics_are_left_out() -> None:
    scrapes = [
        Scrape("m", "m-0", "# TYPE a gauge\na 1\n"),
        Scrape("m", "m-1", "# TYPE a_total counter\na_total 1\n"),
        Scrape("m", "m-2", 'b{unclosed="1\n'),
        Scrape("m", "m-3", "c{x=1} nonsense\n"),
        Scrape("m", "m-4", "d 4\n"),
    ]
    text = render(CollectorRegistry(), scrapes).decode()
    assert 'a{endpoint="m-0",model="m"} 1.0' in text
    assert "m-1" not in text
    assert 'd{endpoint="m-4",model="m"} 4.0' in text
