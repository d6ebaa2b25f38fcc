"""Reads why containers are not created, which the kubelet reports only in Events.

Events are listed for pods that hang in creation, a few at a time; the latest warning goes into the
cache as a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.kinds import EVENT
from fleet_operator.resources.views import PodView

PATIENCE_SECONDS = 10.0
"""Age from which a pod counts as hanging, and shortest time between two lists of its Events."""
AT_ONCE = 8
"""Pods whose Events are listed in one round: a failing node may have many that hang."""
MESSAGE_CHARS = 500


class PodEvents:
    """Keeps the Unix time of the last list for each pod."""

    def __init__(self, cache: ClusterCache, api: KubeClient) -> None:
        self._cache = cache
        self._api = api
        self._listed: dict[str, float] = {}

    async def refresh(self, now: float) -> list[PodView]:
        """Read Events of hanging pods at Unix time `now`; returns the pods with a new hint."""
        changed = []
        hanging = [
            pod
            for pod in self._cache.pods.values()
            if is_hanging(pod, now) and now - self._listed.get(pod.uid, 0.0) >= PATIENCE_SECONDS
        ]
        for pod in hanging[:AT_ONCE]:
            # Also if the list fails: the next try is for other pods.
            self._listed[pod.uid] = now
            try:
                found = await self._api.items(
                    EVENT, pod.namespace, field_selector=f"involvedObject.uid={pod.uid}"
                )
            except KubeError:
                continue
            hint = last_warning(found)
            if hint and self._cache.hints.get(pod.uid) != hint:
                self._cache.hints[pod.uid] = hint
                changed.append(pod)
        self._listed = {uid: at for uid, at in self._listed.items() if uid in self._cache.pods}
        return changed


def is_hanging(pod: PodView, now: float) -> bool:
    """Whether a model's pod has had a node for `PATIENCE_SECONDS` and no container."""
    waits = pod.waiting is None or pod.waiting[0] in ("ContainerCreating", "PodInitializing")
    made = pod.started is not None or pod.ended is not None or pod.last_ended is not None
    scheduled = pod.conditions.get("PodScheduled")
    since = scheduled.since if scheduled is not None and scheduled.since else pod.created
    old = now - since >= PATIENCE_SECONDS
    return bool(pod.model and pod.node) and pod.active and waits and not made and old


def last_warning(events: Iterable[Mapping[str, Any]]) -> str:
    """Reason and message of the latest warning, such as `FailedMount: ...`; "" for none."""
    warnings = [one for one in events if one.get("type") == "Warning"]
    if not warnings:
        return ""
    latest = max(warnings, key=_moment)
    return f"{latest.get('reason', '')}: {latest.get('message', '')}"[:MESSAGE_CHARS]


def _moment(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    known = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((str(moment) for moment in known if moment), default="")
