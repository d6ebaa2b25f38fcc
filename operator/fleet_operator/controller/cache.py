"""Observed state of the cluster in memory: models, children, pods, nodes and probe results.

Plain dictionaries without locks, for one event loop. Every change returns the keys of the models
that it affects.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from fleet_contract.claims import Claimants, NameClaim, prefixed
from fleet_contract.claims import Key as Key
from fleet_contract.names import LABEL_MODEL
from fleet_contract.spec import ModelSpec
from fleet_operator.controller.child_cache import ChildCache, is_known, slim
from fleet_operator.decide.observed import Comparison, Observed, RemoteReport, ReplicaWrite, Rival
from fleet_operator.decide.replica_writers import DEPLOYMENT, MODEL, writer
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.decide.scaling.load import FleetLoad
from fleet_operator.features import Features
from fleet_operator.quantity import add
from fleet_operator.resources.ownership import CLAIM
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import NodeView, PodUsage, PodView, Raw
from fleet_operator.resources.volume_access import modes_of
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings

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
        self.settings = settings
        self._resolver = resolver
        self._sees_nodes = sees_nodes
        self._features = features
        self.models: dict[Key, Raw] = {}
        self.pods: dict[str, PodView] = {}
        self.load = FleetLoad()
        self.reports: dict[str, ServerReport] = {}
        self.hints: dict[str, str] = {}
        self.remotes: dict[str, RemoteReport] = {}
        self.comparisons: dict[Key, Comparison] = {}
        self._children = ChildCache()
        self._access_modes: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        self._of_model: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._foreign_pods: dict[str, PodUsage] = {}
        self._nodes: dict[str, NodeView] = {}
        self._used: dict[str, dict[str, int]] = defaultdict(dict)
        self._replica_writes: dict[Key, deque[ReplicaWrite]] = {}
        self._claimants = Claimants(settings.id_prefixes)
        self._other_shards: dict[Key, Raw] = {}
        self.contender: Callable[[str], str] = lambda _: ""
        """Another release that also tries to serve a namespace, "" for none."""

    def put_model(self, raw: Raw) -> Iterable[Key]:
        """Store an InferenceModel; affects it and all models that share an id with it.

        Of a model that another shard serves, only the claims are used.
        """
        key = _key(raw)
        models = self._models_of(key[0])
        if is_known(models.get(key), raw):
            return NO_KEYS
        self._note_replicas(MODEL, key, models.get(key), raw)
        models[key] = slim(raw)
        return {key, *self._claim(models[key])}

    def drop_model(self, raw: Raw) -> Iterable[Key]:
        """Remove an InferenceModel; affects the models that shared an id with it."""
        key = _key(raw)
        models = self._models_of(key[0])
        known = models.get(key)
        # A late deletion event of an earlier object with this name changes nothing.
        if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
            return NO_KEYS
        del models[key]
        self._replica_writes.pop(key, None)
        self._resolver.forget(raw["metadata"]["uid"])
        return self._claimants.release(key) - {key}

    def reclaim(self) -> None:
        """Resolve the ids of all models again, after a change of the catalog or a profile."""
        for raw in (*self.models.values(), *self._other_shards.values()):
            self._claim(raw)

    def put_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Store a child, such as a Deployment.

        Objects that belong to no model are kept as names that are taken.
        """
        if not self.settings.shard.owns(raw["metadata"]["namespace"]):
            return NO_KEYS
        if kind == CLAIM:
            meta = raw["metadata"]
            self._access_modes[meta["namespace"]][meta["name"]] = modes_of(raw)
        known = self._children.current(kind, raw)
        key = self._children.put(kind, raw)
        if key is not None and kind == DEPLOYMENT:
            self._note_replicas(kind, key, known, raw)
        return _affected(key)

    def drop_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Remove a child or a taken name; affects the model of that name."""
        if kind == CLAIM:
            meta = raw["metadata"]
            self._access_modes[meta["namespace"]].pop(meta["name"], None)
        return _affected(self._children.drop(kind, raw))

    def put_pod(self, raw: Raw) -> Iterable[Key]:
        """Store a pod: of a model for its state, a router's for its address, of others only the
        resources they request."""
        meta = raw["metadata"]
        labels = meta.get("labels") or {}
        owned = bool(labels.get(LABEL_MODEL)) and self.settings.shard.owns(meta["namespace"])
        if not owned and not self.settings.router_selector.items() <= labels.items():
            affected = self.drop_pod(raw)
            usage = PodUsage.parse(raw)
            self._foreign_pods[meta["uid"]] = usage
            self._count(usage, 1)
            return affected
        # Before the new counts: a pod may have gained the labels of a model or router.
        self._count(self._foreign_pods.pop(meta["uid"], None), -1)
        pod = PodView.parse(raw) if owned else replace(PodView.parse(raw), model="")
        self._count(_usage(self.pods.get(pod.uid)), -1)
        self._count(_usage(pod), 1)
        self.pods[pod.uid] = pod
        if not pod.model:
            return NO_KEYS
        self._of_model[pod.namespace, pod.model][pod.uid] = pod
        return ((pod.namespace, pod.model),)

    def drop_pod(self, raw: Raw) -> Iterable[Key]:
        """Remove a pod and what was probed of it."""
        uid = raw["metadata"]["uid"]
        self._count(self._foreign_pods.pop(uid, None), -1)
        pod = self.pods.pop(uid, None)
        if pod is None:
            return NO_KEYS
        self._count(_usage(pod), -1)
        self.reports.pop(pod.uid, None)
        self.hints.pop(pod.uid, None)
        key = (pod.namespace, pod.model)
        if self._of_model[key].pop(pod.uid, None) is None:
            return NO_KEYS
        return (key,)

    def put_node(self, raw: Raw) -> None:
        self._nodes[raw["metadata"]["name"]] = NodeView.parse(raw)

    def drop_node(self, raw: Raw) -> None:
        self.drop("Node", raw["metadata"].get("uid", ""))

    def versions(self, kind: str) -> dict[str, str]:
        """uid to resourceVersion of all cached objects of a kind that have the label of a model."""
        if kind == "Pod":
            return {pod.uid: pod.version for pod in self.pods.values() if pod.model}
        if kind != "InferenceModel":
            return self._children.versions(kind)
        metas = (raw["metadata"] for raw in (*self.models.values(), *self._other_shards.values()))
        return {meta["uid"]: meta["resourceVersion"] for meta in metas}

    def seen(self, kind: str) -> set[str]:
        """Uids of all cached objects of a kind, foreign ones included."""
        if kind == "Node":
            return {node.uid for node in self._nodes.values()}
        if kind == "Pod":
            return {*self.pods, *self._foreign_pods}
        if kind == "InferenceModel":
            return set(self.versions(kind))
        return self._children.uids(kind)

    def drop(self, kind: str, uid: str) -> Iterable[Key]:
        """Remove an object of any kind, foreign ones included, by its uid."""
        if kind == "Pod":
            return self.drop_pod({"metadata": {"uid": uid}})
        if kind == "Node":
            self._nodes = {name: one for name, one in self._nodes.items() if one.uid != uid}
            return NO_KEYS
        if kind == "InferenceModel":
            for models in (self.models, self._other_shards):
                for raw in models.values():
                    if raw["metadata"]["uid"] == uid:
                        return self.drop_model(raw)
            return NO_KEYS
        found = self._children.by_uid(kind, uid)
        return NO_KEYS if found is None else self.drop_child(kind, found)

    def model_pods(self, key: Key) -> list[PodView]:
        """All pods of a model, in no order."""
        return list(self._of_model.get(key, {}).values())

    def spec(self, key: Key) -> ModelSpec | None:
        """The completed spec of a model; None if it is unknown or invalid."""
        model = self.models.get(key)
        return None if model is None else self._resolver.resolve(model).spec

    def observe(self, key: Key) -> Observed | None:
        """Snapshot for one reconcile; None if the InferenceModel does not exist."""
        model = self.models.get(key)
        if model is None:
            return None
        uid = model["metadata"]["uid"]
        children, foreign = self._children.of(key, uid)
        # In a fixed order, so that messages name the same pod in every reconcile.
        pods = sorted(self.model_pods(key), key=lambda pod: (pod.created, pod.name))
        claim = self._claimants.get(key)
        names = claim.names if claim is not None else self.ids(model)
        rivals = {
            name: Rival(owner.name, name, owner.namespace)
            for name, owner in self._claimants.lost(key).items()
        }
        return Observed(
            model=model,
            resolution=self._resolver.resolve(model),
            settings=self.settings,
            now=time.time(),
            children=children,
            foreign=foreign,
            pods=tuple(pods),
            reports={pod.uid: self.reports[pod.uid] for pod in pods if pod.uid in self.reports},
            hints={pod.uid: self.hints[pod.uid] for pod in pods if pod.uid in self.hints},
            rival=rivals.get(names[0]),
            lost=tuple(rivals[name] for name in names[1:] if name in rivals),
            contender=self.contender(key[0]),
            remote=self.remotes.get(uid),
            cluster=Cluster(list(self._nodes.values()), self._used) if self._sees_nodes else None,
            access_modes=self._access_modes.get(key[0], {}),
            comparison=self.comparisons.get(key),
            load=self.load.of(self.ids(model)[0]),
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

    def _count(self, usage: PodUsage | None, sign: int) -> None:
        if usage is not None and usage.node:
            add(self._used[usage.node], {"pods": 1000, **usage.requests}, sign)

    def _models_of(self, namespace: str) -> dict[Key, Raw]:
        return self.models if self.settings.shard.owns(namespace) else self._other_shards

    def _claim(self, model: Raw) -> set[Key]:
        """Record what a model claims now; returns all models whose names may change owner."""
        created = model["metadata"].get("creationTimestamp") or ""
        spec = self._resolver.resolve(model).spec
        adapters = self.prefixed(model, spec.adapter_ids if spec is not None else ())
        claim = NameClaim(created, *_key(model), self.ids(model), adapters)
        return self._claimants.put(claim)

    def ids(self, model: Raw) -> tuple[str, ...]:
        """Id and aliases as clients send them."""
        return self.prefixed(model, self._resolver.resolve(model).ids)

    def prefixed(self, model: Raw, ids: Iterable[str]) -> tuple[str, ...]:
        """Ids of the model's namespace as clients send them."""
        return prefixed(ids, self.settings.id_prefixes.get(model["metadata"]["namespace"], ""))


def _key(raw: Raw) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _usage(pod: PodView | None) -> PodUsage | None:
    if pod is None or pod.terminal:
        return None
    return PodUsage(pod.node, pod.requests)


def _affected(key: Key | None) -> Iterable[Key]:
    return NO_KEYS if key is None else (key,)
