"""Observed state of the cluster in memory: models, children, pods, nodes and probe results.

Plain dictionaries without locks, for one event loop. Every change returns the keys of the models
that it affects.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable

from fleet_contract.claims import Claim, owners
from fleet_operator.controller.child_cache import ChildCache, is_known, slim
from fleet_operator.decide.load import FleetLoad
from fleet_operator.decide.observed import Observed, RemoteReport, ReplicaWrite, Rival
from fleet_operator.decide.replica_writers import DEPLOYMENT, MODEL, writer
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.features import Features
from fleet_operator.quantity import add
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import NodeView, PodView, Raw
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings

Key = tuple[str, str]
"""Namespace and name of an InferenceModel."""
NO_KEYS: frozenset[Key] = frozenset()
NO_FEATURES = Features()
REPLICA_WRITES = 16
"""Writes of replicas by others that are remembered for each model."""


class ClusterCache:
    """The observed state. `sees_nodes` is False if the operator may not list nodes."""

    def __init__(
        self,
        settings: OperatorSettings,
        resolver: Resolver,
        sees_nodes: bool,
        features: Features = NO_FEATURES,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._sees_nodes = sees_nodes
        self._features = features
        self.models: dict[Key, Raw] = {}
        self.pods: dict[str, PodView] = {}
        self.load = FleetLoad()
        self.reports: dict[str, ServerReport] = {}
        self.hints: dict[str, str] = {}
        self.remotes: dict[str, RemoteReport] = {}
        self._children = ChildCache()
        self._of_model: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._nodes: dict[str, NodeView] = {}
        self._used: dict[str, dict[str, int]] = defaultdict(dict)
        self._replica_writes: dict[Key, deque[ReplicaWrite]] = {}
        self._claims: dict[Key, Claim] = {}
        self._claimants: dict[tuple[str, str], set[Key]] = defaultdict(set)

    def put_model(self, raw: Raw) -> Iterable[Key]:
        """Store an InferenceModel; affects it and all models that share an id with it."""
        key = _key(raw)
        if is_known(self.models.get(key), raw):
            return NO_KEYS
        self._note_replicas(MODEL, key, self.models.get(key), raw)
        self.models[key] = slim(raw)
        return {key, *self._claim(key)}

    def drop_model(self, raw: Raw) -> Iterable[Key]:
        """Remove an InferenceModel; affects the models that shared an id with it."""
        key = _key(raw)
        known = self.models.get(key)
        if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
            return NO_KEYS
        del self.models[key]
        self._replica_writes.pop(key, None)
        self._resolver.forget(raw["metadata"]["uid"])
        return self._release(key) - {key}

    def reclaim(self) -> None:
        """Resolve the ids of all models again, after a change of the catalog or a profile."""
        for key in self.models:
            self._claim(key)

    def put_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Store a child, such as a Deployment.

        Objects that belong to no model are kept as names that are taken.
        """
        known = self._children.current(kind, raw)
        key = self._children.put(kind, raw)
        if key is not None and kind == DEPLOYMENT:
            self._note_replicas(kind, key, known, raw)
        return _affected(key)

    def drop_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Remove a child or a taken name; affects the model of that name."""
        return _affected(self._children.drop(kind, raw))

    def put_pod(self, raw: Raw) -> Iterable[Key]:
        """Store a pod: of a model for its state, of others for the resources it requests."""
        pod = PodView.parse(raw)
        self._count(self.pods.get(pod.uid), -1)
        self._count(pod, 1)
        self.pods[pod.uid] = pod
        if not pod.model:
            return NO_KEYS
        self._of_model[pod.namespace, pod.model][pod.uid] = pod
        return ((pod.namespace, pod.model),)

    def drop_pod(self, raw: Raw) -> Iterable[Key]:
        """Remove a pod and what was probed of it."""
        pod = self.pods.pop(raw["metadata"]["uid"], None)
        if pod is None:
            return NO_KEYS
        self._count(pod, -1)
        self.reports.pop(pod.uid, None)
        self.hints.pop(pod.uid, None)
        key = (pod.namespace, pod.model)
        if self._of_model[key].pop(pod.uid, None) is None:
            return NO_KEYS
        return (key,)

    def put_node(self, raw: Raw) -> None:
        self._nodes[raw["metadata"]["name"]] = NodeView.parse(raw)

    def drop_node(self, raw: Raw) -> None:
        self._nodes.pop(raw["metadata"]["name"], None)

    def versions(self, kind: str) -> dict[str, str]:
        """uid to resourceVersion of all cached objects of a kind that have the label of a model."""
        if kind == "Pod":
            return {pod.uid: pod.version for pod in self.pods.values() if pod.model}
        if kind != "InferenceModel":
            return self._children.versions(kind)
        metas = (raw["metadata"] for raw in self.models.values())
        return {meta["uid"]: meta["resourceVersion"] for meta in metas}

    def seen(self, kind: str) -> set[str]:
        """Uids of all cached objects of a kind, foreign ones included; names for nodes."""
        if kind == "Node":
            return set(self._nodes)
        if kind == "Pod":
            return set(self.pods)
        if kind == "InferenceModel":
            return set(self.versions(kind))
        return self._children.uids(kind)

    def by_uid(self, kind: str, uid: str) -> Raw | None:
        """A cached object, with as much of it as removing it takes."""
        if kind == "Pod":
            return {"metadata": {"uid": uid}} if uid in self.pods else None
        if kind != "InferenceModel":
            return self._children.by_uid(kind, uid)
        found = (raw for raw in self.models.values() if raw["metadata"]["uid"] == uid)
        return next(found, None)

    def model_pods(self, key: Key) -> list[PodView]:
        """All pods of a model, in no order."""
        return list(self._of_model.get(key, {}).values())

    def observe(self, key: Key) -> Observed | None:
        """Snapshot for one reconcile; None if the InferenceModel does not exist."""
        model = self.models.get(key)
        if model is None:
            return None
        uid = model["metadata"]["uid"]
        rivals = self._rivals(key)
        children, foreign = self._children.of(key, uid)
        pods = sorted(self.model_pods(key), key=lambda pod: (pod.created, pod.name))
        return Observed(
            model=model,
            resolution=self._resolver.resolve(model),
            settings=self._settings,
            now=time.time(),
            children=children,
            foreign=foreign,
            pods=tuple(pods),
            reports={pod.uid: self.reports[pod.uid] for pod in pods if pod.uid in self.reports},
            hints={pod.uid: self.hints[pod.uid] for pod in pods if pod.uid in self.hints},
            rival=rivals.get(self._claims[key].ids[0]),
            lost=tuple(rivals[alias] for alias in self._claims[key].ids[1:] if alias in rivals),
            remote=self.remotes.get(uid),
            cluster=Cluster(list(self._nodes.values()), self._used) if self._sees_nodes else None,
            load=self.load.of(self._resolver.resolve(model).ids[0]),
            replica_writes=tuple(self._replica_writes.get(key, ())),
            features=self._features,
        )

    def _note_replicas(self, kind: str, key: Key, known: Raw | None, raw: Raw) -> None:
        """Record a change of replicas by another field manager."""
        if known is None or key not in self.models:
            return
        old, new = (one.get("spec", {}).get("replicas") for one in (known, raw))
        if old != new and (manager := writer(raw)):
            writes = self._replica_writes.setdefault(key, deque(maxlen=REPLICA_WRITES))
            writes.append(ReplicaWrite(kind, manager, time.time()))

    def _count(self, pod: PodView | None, sign: int) -> None:
        if pod is not None and pod.node and pod.phase not in ("Succeeded", "Failed"):
            add(self._used[pod.node], {"pods": 1000, **pod.requests}, sign)

    def _claim(self, key: Key) -> set[Key]:
        """Record what a model claims now; every model whose names may change owner by that."""
        model = self.models[key]
        created = model["metadata"].get("creationTimestamp") or ""
        claim = Claim(created, *key, self._resolver.resolve(model).ids)
        if self._claims.get(key) == claim:
            return set()
        affected = self._release(key)
        self._claims[key] = claim
        for identifier in claim.ids:
            self._claimants[key[0], identifier].add(key)
        return affected | self._contenders(key)

    def _release(self, key: Key) -> set[Key]:
        affected = self._contenders(key)
        claim = self._claims.pop(key, None)
        for identifier in claim.ids if claim is not None else ():
            claimants = self._claimants[key[0], identifier]
            claimants.discard(key)
            if not claimants:
                del self._claimants[key[0], identifier]
        return affected

    def _contenders(self, key: Key) -> set[Key]:
        """All that claim a name of this model, and all that claim a name of one of those.

        The second step matters: whether one of the first has lost its own id decides whether it
        may keep an alias.
        """
        found = {key}
        for _ in range(2):
            for other in list(found):
                claim = self._claims.get(other)
                for identifier in claim.ids if claim is not None else ():
                    found |= self._claimants[key[0], identifier]
        return found

    def _rivals(self, key: Key) -> dict[str, Rival]:
        """The owners of the model's id and aliases that another model owns."""
        contenders = self._contenders(key)
        if len(contenders) == 1:
            return {}
        owner = owners(self._claims[other] for other in contenders)
        claim = self._claims[key]
        return {
            identifier: Rival(owner[identifier].name, identifier)
            for identifier in claim.ids
            if owner[identifier] is not claim
        }


def _key(raw: Raw) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _affected(key: Key | None) -> Iterable[Key]:
    return NO_KEYS if key is None else (key,)
