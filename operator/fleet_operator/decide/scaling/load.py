"""The load of every model, combined from the reports of the routers. Pure.

A router that does not respond keeps its last report for `FORGET_SECONDS`, during which the load is
incomplete. After that it does not count any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_contract.api.load_report import REPORTED_SECONDS, ReportedLoad
from fleet_operator.decide.scaling.autoscale import Load

FORGET_SECONDS = 60.0
RESOLUTION_SECONDS = 0.5
"""Smallest change of the time of a last request: two reports of it differ by the network's delay.
"""

Report = Mapping[str, ReportedLoad]


@dataclass(frozen=True, slots=True)
class RouterLoad:
    """The last report of a router and when it arrived, or when the first was requested. It is
    `silent` if it did not respond since, and does not count if it is `forgotten`."""

    report: Report
    at: float
    silent: bool = False
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """The reports of all routers by pod uid, and the Unix time of each model's last request."""

    routers: Mapping[str, RouterLoad] = field(default_factory=dict)
    last_requests: Mapping[str, float] = field(default_factory=dict)

    def of(self, model: str) -> Load | None:
        """The load of a model; None if no router counts."""
        counted = [router for router in self.routers.values() if not router.forgotten]
        if not counted:
            return None
        return Load(
            in_flight=sum(one.report[model].in_flight for one in counted if model in one.report),
            last_request=self.last_requests.get(model),
            complete=not any(router.silent for router in counted),
        )

    def updated(self, reports: Mapping[str, Report | None], now: float) -> FleetLoad:
        """With new reports by pod uid, None for a router that did not respond. Routers that are not
        in `reports` are gone."""
        routers = {uid: self._router(uid, report, now) for uid, report in reports.items()}
        return FleetLoad(routers, self._last_requests(reports, now))

    def forgotten(self) -> frozenset[str]:
        """Uids of the routers that do not count."""
        return frozenset(uid for uid, router in self.routers.items() if router.forgotten)

    def _router(self, uid: str, report: Report | None, now: float) -> RouterLoad:
        if report is not None:
            return RouterLoad(report, now)
        known = self.routers.get(uid) or RouterLoad({}, now)
        forgotten = now - known.at >= FORGET_SECONDS
        return RouterLoad({} if forgotten else known.report, known.at, True, forgotten)

    def _last_requests(self, reports: Mapping[str, Report | None], now: float) -> dict[str, float]:
        last = {
            model: at for model, at in self.last_requests.items() if now - at < REPORTED_SECONDS
        }
        for report in reports.values():
            for model, load in (report or {}).items():
                at = now - load.idle_seconds
                if at >= last.get(model, 0.0) + RESOLUTION_SECONDS:
                    last[model] = at
        return last
