"""Observed state of the cluster in memory: models, children, pods, nodes and probe results.

Plain dictionaries without locks, for one event loop. Every change returns the keys of the models
that it affects.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from fleet_contract.claims import Claim, prefixed
from fleet_contract.names import LABEL_MODEL
from fleet_operator.controller.claimants import Claimants
from fleet_operator.controller.claimants import Key as Key
from fleet_operator.decide.load import FleetLoad
from fleet_operator.decide.observed import Observed, Ref, RemoteReport
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.quantity import add
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import NodeView, PodView, Raw, Usage
from fleet_operator.resources.volumes import cache_claim_name
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings

NO_KEYS: frozenset[Key] = frozenset()
CHILD_KINDS = ("Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim")


class ClusterCache:
    """The observed state. `sees_nodes` is False if the operator may not list nodes."""

    def __init__(self, settings: OperatorSettings, resolver: Resolver, sees_nodes: bool) -> None:
        self._settings = settings
        self._resolver = resolver
        self._sees_nodes = sees_nodes
        self.models: dict[Key, Raw] = {}
        self.pods: dict[str, PodView] = {}
        self.load = FleetLoad()
        self.reports: dict[str, ServerReport] = {}
        self.hints: dict[str, str] = {}
        self.remotes: dict[str, RemoteReport] = {}
        self._children: dict[Key, dict[Ref, Raw]] = defaultdict(dict)
        self._foreign: dict[str, dict[Ref, str]] = defaultdict(dict)
        self._of_model: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._foreign_pods: dict[str, Usage] = {}
        self._nodes: dict[str, NodeView] = {}
        self._used: dict[str, dict[str, int]] = defaultdict(dict)
        self._claimants = Claimants()
        self._other_shards: dict[Key, Raw] = {}
        self.contender: Callable[[str], str] = lambda _: ""
        """Another release that also tries to serve a namespace, "" for none."""

    def put_model(self, raw: Raw) -> Iterable[Key]:
        """Store an InferenceModel; affects it and all models that share an id with it.

        Of one that another shard serves, only the claims matter.
        """
        key = _key(raw)
        models = self._models_of(key[0])
        if _is_known(models.get(key), raw):
            return NO_KEYS
        models[key] = _slim(raw)
        return {key, *self._claim(models[key])}

    def drop_model(self, raw: Raw) -> Iterable[Key]:
        """Remove an InferenceModel; affects the models that shared an id with it."""
        key = _key(raw)
        models = self._models_of(key[0])
        known = models.get(key)
        if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
            return NO_KEYS
        del models[key]
        self._resolver.forget(raw["metadata"]["uid"])
        return self._claimants.release(key) - {key}

    def reclaim(self) -> None:
        """Resolve the ids of all models again, after a change of the catalog or a profile."""
        for raw in (*self.models.values(), *self._other_shards.values()):
            self._claim(raw)

    def put_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Store a Deployment, Service, PodDisruptionBudget or PersistentVolumeClaim.

        Objects that belong to no model are kept as names that are taken.
        """
        meta = raw["metadata"]
        if not self._settings.shard.owns(meta["namespace"]):
            return NO_KEYS
        owner = (meta.get("labels") or {}).get(LABEL_MODEL)
        ref = Ref(kind, meta["name"])
        if owner is None:
            self._foreign[meta["namespace"]][ref] = meta["uid"]
            return self._forget_child(meta["namespace"], ref)
        self._foreign[meta["namespace"]].pop(ref, None)
        key = (meta["namespace"], owner)
        if _is_known(self._children[key].get(ref), raw):
            return NO_KEYS
        self._children[key][ref] = _slim(raw)
        return (key,)

    def drop_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Remove a child or a taken name; affects the model of that name."""
        meta = raw["metadata"]
        ref = Ref(kind, meta["name"])
        if self._foreign[meta["namespace"]].pop(ref, None) is not None:
            return _users(meta["namespace"], ref)
        owner = (meta.get("labels") or {}).get(LABEL_MODEL)
        key = (meta["namespace"], owner or "")
        known = self._children.get(key, {}).get(ref)
        if known is None or known["metadata"]["uid"] != meta["uid"]:
            return NO_KEYS
        del self._children[key][ref]
        return (key,)

    def put_pod(self, raw: Raw) -> Iterable[Key]:
        """Store a pod: of a model for its state, a router's for its address, of others only the
        resources they request."""
        meta = raw["metadata"]
        labels = meta.get("labels") or {}
        owned = bool(labels.get(LABEL_MODEL)) and self._settings.shard.owns(meta["namespace"])
        if not owned and not self._settings.router_selector.items() <= labels.items():
            affected = self.drop_pod(raw)
            usage = Usage.parse(raw)
            self._foreign_pods[meta["uid"]] = usage
            self._count(usage, 1)
            return affected
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
        """uid to resourceVersion of all cached objects of a kind that belong to models."""
        if kind == "InferenceModel":
            raws = [*self.models.values(), *self._other_shards.values()]
        elif kind == "Pod":
            return {pod.uid: pod.version for pod in self.pods.values() if pod.model}
        else:
            raws = [raw for children in self._children.values()
                    for ref, raw in children.items() if ref.kind == kind]  # fmt: skip
        return {raw["metadata"]["uid"]: raw["metadata"]["resourceVersion"] for raw in raws}

    def seen(self, kind: str) -> set[str]:
        """Uids of all cached objects of a kind, foreign ones included."""
        if kind == "Node":
            return {node.uid for node in self._nodes.values()}
        if kind == "Pod":
            return {*self.pods, *self._foreign_pods}
        if kind == "InferenceModel":
            return set(self.versions(kind))
        others = (uid for foreign in self._foreign.values()
                  for ref, uid in foreign.items() if ref.kind == kind)  # fmt: skip
        return {*self.versions(kind), *others}

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
        for children in self._children.values():
            for raw in children.values():
                if raw["metadata"]["uid"] == uid:
                    return self.drop_child(kind, raw)
        for namespace, foreign in self._foreign.items():
            for ref, known in foreign.items():
                if (ref.kind, known) == (kind, uid):
                    del foreign[ref]
                    return _users(namespace, ref)
        return NO_KEYS

    def model_pods(self, key: Key) -> list[PodView]:
        """All pods of a model, in no order."""
        return list(self._of_model.get(key, {}).values())

    def observe(self, key: Key) -> Observed | None:
        """Snapshot for one reconcile; None if the InferenceModel does not exist."""
        model = self.models.get(key)
        if model is None:
            return None
        uid = model["metadata"]["uid"]
        pods = sorted(self.model_pods(key), key=lambda pod: (pod.created, pod.name))
        return Observed(
            model=model,
            resolution=self._resolver.resolve(model),
            settings=self._settings,
            now=time.time(),
            children=dict(self._children.get(key, {})),
            foreign=self._taken(key) | self._controlled_by_others(key, uid),
            pods=tuple(pods),
            reports={pod.uid: self.reports[pod.uid] for pod in pods if pod.uid in self.reports},
            hints={pod.uid: self.hints[pod.uid] for pod in pods if pod.uid in self.hints},
            rival=self._claimants.rival(key),
            lost=self._claimants.lost(key),
            contender=self.contender(key[0]),
            remote=self.remotes.get(uid),
            cluster=Cluster(list(self._nodes.values()), self._used) if self._sees_nodes else None,
            load=self.load.of(key[0], self._ids(model)[0]),
        )

    def _taken(self, key: Key) -> frozenset[Ref]:
        """Names of children that are taken by foreign objects."""
        names = (key[1], cache_claim_name(key[1]))
        foreign = self._foreign.get(key[0], {})
        refs = (Ref(kind, name) for kind in CHILD_KINDS for name in names)
        return frozenset(ref for ref in refs if ref in foreign)

    def _controlled_by_others(self, key: Key, uid: str) -> frozenset[Ref]:
        """Children with the model's label and another controller; ones without are adopted."""
        return frozenset(
            ref
            for ref, raw in self._children.get(key, {}).items()
            for owner in raw["metadata"].get("ownerReferences") or ()
            if owner.get("controller") and owner.get("uid") != uid
        )

    def _forget_child(self, namespace: str, ref: Ref) -> Iterable[Key]:
        """Remove a child that has lost its label."""
        for name in (ref.name, ref.name.removesuffix("-cache")):
            children = self._children.get((namespace, name))
            if children is not None and children.pop(ref, None) is not None:
                return ((namespace, name),)
        return NO_KEYS

    def _count(self, usage: Usage | None, sign: int) -> None:
        if usage is not None and usage.node:
            add(self._used[usage.node], {"pods": 1000, **usage.requests}, sign)

    def _models_of(self, namespace: str) -> dict[Key, Raw]:
        return self.models if self._settings.shard.owns(namespace) else self._other_shards

    def _claim(self, model: Raw) -> set[Key]:
        """Record what a model claims now; every model whose names may change owner by that."""
        created = model["metadata"].get("creationTimestamp") or ""
        return self._claimants.put(Claim(created, *_key(model), self._ids(model)))

    def _ids(self, model: Raw) -> tuple[str, ...]:
        """Id and aliases as clients send them."""
        prefix = self._settings.id_prefixes.get(model["metadata"]["namespace"], "")
        return prefixed(self._resolver.resolve(model).ids, prefix)


def _key(raw: Raw) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _usage(pod: PodView | None) -> Usage | None:
    if pod is None or pod.phase in ("Succeeded", "Failed"):
        return None
    return Usage(pod.node, pod.requests)


def _users(namespace: str, ref: Ref) -> tuple[Key, ...]:
    """The models that may have been waiting for a name to become free."""
    names = {ref.name, ref.name.removesuffix("-cache")}
    return tuple((namespace, name) for name in sorted(names))


def _is_known(known: Raw | None, raw: Raw) -> bool:
    """Whether `raw` is not newer than the cached version of the same object.

    Own writes are cached before the watch delivers them. resourceVersions are comparable since 1.35
    (kubernetes.io/docs/reference/using-api/api-concepts).
    """
    if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
        return False
    old, new = known["metadata"]["resourceVersion"], raw["metadata"]["resourceVersion"]
    return int(new) <= int(old) if new.isdigit() and old.isdigit() else bool(new == old)


def _slim(raw: Raw) -> Raw:
    """The object without managedFields, often its largest field and never read."""
    meta = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    return {**raw, "metadata": meta}
