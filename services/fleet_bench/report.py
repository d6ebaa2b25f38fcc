"""The figures of a benchmark as a table."""

from __future__ import annotations

from rich.table import Table

from fleet_bench.settings import BenchSettings
from fleet_bench.summary import Spread, Summary


def table(title: str, settings: BenchSettings, summary: Summary) -> Table:
    """A row for each figure of the workload."""
    made = Table("figure", "value", title=title, title_justify="left")
    made.columns[1].justify = "right"
    load = f"{settings.clients} clients"
    if settings.clients < settings.concurrency:
        load += f", one for each request (--concurrency {settings.concurrency})"
    if settings.rate is not None:
        load = f"{settings.rate:g} requests/s, at most {settings.clients} at once"
    made.add_row("address", settings.root)
    made.add_row("model", settings.model)
    made.add_row("load", load)
    made.add_row("requests", f"{summary.good} good of {summary.requests}")
    made.add_row("seconds", f"{summary.seconds:.2f}")
    made.add_section()
    for name, value, unit in (
        ("requests", summary.requests_per_second, "/s"),
        ("tokens generated", summary.tokens_per_second, "/s"),
        ("tokens of one stream", summary.decode_tokens_per_second, "/s"),
        ("inputs embedded", summary.items_per_second, "/s"),
        ("speech", summary.times_real_time, " x real time"),
    ):
        if value is not None:
            made.add_row(name, f"{value:.1f}{unit}")
    made.add_section()
    for name, spread in (
        ("latency", summary.latency),
        ("time to first token", summary.first_token),
        ("between chunks", summary.between_tokens),
    ):
        if spread is not None:
            made.add_row(f"{name} p50 / p90 / p99", _milliseconds(spread))
    made.add_section()
    for reason, number in sorted(summary.errors.items(), key=lambda pair: -pair[1]):
        made.add_row(f"[red]{reason}", f"[red]{number}")
    return made


def _milliseconds(spread: Spread) -> str:
    return " / ".join(f"{1000 * value:.1f}" for value in (spread.p50, spread.p90, spread.p99)) + (
        " ms"
    )
