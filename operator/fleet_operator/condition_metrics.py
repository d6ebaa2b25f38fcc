"""The conditions of InferenceModels as Prometheus series, as kube-state-metrics has them.

Format: github.com/kubernetes/kube-state-metrics, docs/metrics/workload/deployment-metrics.md
(kube_deployment_status_condition): three series for each condition, 1 for its status and else 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAME = "modelfleet_inferencemodel_status_condition"
STATUSES = ("True", "False", "Unknown")
HEAD = f"# HELP {NAME} The conditions of each InferenceModel\n# TYPE {NAME} gauge\n"


class ConditionSeries:
    """The series of all models; the text of a model is built again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def render(self, models: Iterable[Mapping[str, Any]]) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        texts: dict[str, tuple[str, str]] = {}
        for model in models:
            uid, version = model["metadata"]["uid"], model["metadata"]["resourceVersion"]
            known = self._known.get(uid)
            unchanged = known is not None and known[0] == version
            texts[uid] = known if known and unchanged else (version, series(model))
        self._known = texts
        return "".join([HEAD, *(text for _, text in texts.values())]).encode()


def series(model: Mapping[str, Any]) -> str:
    """The lines of one model. No value needs escaping: all are names of Kubernetes."""
    meta = model["metadata"]
    own = f'namespace="{meta["namespace"]}",inferencemodel="{meta["name"]}"'
    return "".join(
        f'{NAME}{{{own},condition="{one["type"]}",status="{status.lower()}"}} '
        f"{int(one['status'] == status)}\n"
        for one in (model.get("status") or {}).get("conditions") or ()
        for status in STATUSES
    )
