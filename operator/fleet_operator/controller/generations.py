"""Finds the current ReplicaSet of a Deployment, where its pods alone do not show which one that is.

`kubectl rollout restart` makes a new ReplicaSet whose pods have the same version of the model.
"""

from __future__ import annotations

from fleet_contract.names import LABEL_MODEL
from fleet_kube.client import KubeClient
from fleet_operator.controller.cache import Key
from fleet_operator.decide.observed import Observed
from fleet_operator.kinds import REPLICA_SET
from fleet_operator.resources.views import LABEL_REPLICA_SET, Raw

REVISION = "deployment.kubernetes.io/revision"
"""Annotation of a Deployment and of its current ReplicaSet."""


class Generations:
    """Lists ReplicaSets once for each revision of a Deployment."""

    def __init__(self, api: KubeClient) -> None:
        self._api = api
        self._known: dict[Key, tuple[tuple[str, str], str]] = {}

    async def newest(self, key: Key, observed: Observed) -> str:
        """The hash of the current ReplicaSet, "" if it is not found. Raises KubeError."""
        deployment = observed.deployment
        if deployment is None:
            return ""
        revision = (str(deployment["metadata"]["uid"]), _revision(deployment))
        kept = self._known.get(key)
        if kept is not None and kept[0] == revision:
            return kept[1]
        selector = f"{LABEL_MODEL}={observed.name}"
        for found in await self._api.items(REPLICA_SET, observed.namespace, selector):
            meta = found["metadata"]
            owners = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
            if revision[0] in owners and _revision(found) == revision[1]:
                newest = str((meta.get("labels") or {}).get(LABEL_REPLICA_SET, ""))
                self._known[key] = (revision, newest)
                return newest
        return ""

    def forget(self, key: Key) -> None:
        """Drop what is known of a deleted model."""
        self._known.pop(key, None)


def _revision(raw: Raw) -> str:
    return str((raw["metadata"].get("annotations") or {}).get(REVISION, ""))
