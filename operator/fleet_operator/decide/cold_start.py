"""The stages of a cold start, from the pod's timestamps and the server's report."""

from __future__ import annotations

from fleet_contract.server_protocol import StartStage
from fleet_contract.status import ColdStart
from fleet_operator.resources.views import PodView
from fleet_operator.server_report import ServerReport
from fleet_operator.timestamps import render


def cold_start(pod: PodView, report: ServerReport) -> ColdStart | None:
    """The cold start of a ready pod; None if it is not ready or its container was restarted.

    A restarted container finds image and weights on the node, so its start was not cold.
    """
    ready, scheduled = pod.conditions.get("Ready"), pod.conditions.get("PodScheduled")
    if not pod.ready or ready is None or ready.since is None or pod.restarts:
        return None
    node = scheduled.since if scheduled is not None else None
    image = pod.started - node if pod.started is not None and node is not None else None
    stages = report.stages
    return ColdStart(
        schedule_seconds=_seconds(node - pod.created if node is not None else None),
        image_seconds=_seconds(image),
        start_seconds=_seconds(stages.get(StartStage.START)),
        fetch_seconds=_seconds(stages.get(StartStage.FETCH)),
        load_seconds=_seconds(stages.get(StartStage.LOAD)),
        warm_seconds=_seconds(stages.get(StartStage.WARM)),
        golden_seconds=_seconds(stages.get(StartStage.GOLDEN)),
        total_seconds=round(max(0.0, ready.since - pod.created), 2),
        at=render(ready.since),
    )


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(max(0.0, value), 2)
