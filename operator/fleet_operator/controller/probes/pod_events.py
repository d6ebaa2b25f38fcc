"""Why a container is not being created: the kubelet says so in Events only.

Asked for pods that hang there, a few at a time; what is found goes into the cache as a hint.
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
"""Sandboxes and volumes take a moment; nobody asks before that, nor again sooner."""
AT_ONCE = 8
MESSAGE_CHARS = 500


class PodEvents:
    """Remembers when it last asked for which pod."""

    def __init__(self, cache: ClusterCache, api: KubeClient) -> None:
        self._cache = cache
        self._api = api
        self._asked: dict[str, float] = {}

    async def ask(self, now: float) -> list[PodView]:
        """One round at Unix time `now`: the pods of which something new was learned."""
        changed = []
        hanging = [
            pod
            for pod in self._cache.pods.values()
            if is_hanging(pod, now) and now - self._asked.get(pod.uid, 0.0) >= PATIENCE_SECONDS
        ]
        for pod in hanging[:AT_ONCE]:
            self._asked[pod.uid] = now
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
        self._asked = {uid: at for uid, at in self._asked.items() if uid in self._cache.pods}
        return changed


def is_hanging(pod: PodView, now: float) -> bool:
    """Whether a model's pod has a node and, for a while, no container and no reason."""
    waits = pod.waiting is None or pod.waiting[0] in ("ContainerCreating", "PodInitializing")
    made = pod.started is not None or pod.ended is not None or pod.last_ended is not None
    scheduled = pod.conditions.get("PodScheduled")
    since = scheduled.since if scheduled is not None and scheduled.since else pod.created
    old = now - since >= PATIENCE_SECONDS
    return bool(pod.model and pod.node) and pod.active and waits and not made and old


def last_warning(events: Iterable[Mapping[str, Any]]) -> str:
    """`FailedMount: the kubelet's message` of the newest warning, or nothing."""
    warnings = [one for one in events if one.get("type") == "Warning"]
    if not warnings:
        return ""
    newest = max(warnings, key=_moment)
    return f"{newest.get('reason', '')}: {newest.get('message', '')}"[:MESSAGE_CHARS]


def _moment(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    known = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((str(moment) for moment in known if moment), default="")
