"""Observed state of the cluster in memory: models, children, pods, nodes and probe results.

Plain dictionaries without locks, for one event loop. Every change returns the keys of the models
that it affects.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from fleet_contract.claims import Claim, owners
from fleet_contract.names import LABEL_MODEL
from fleet_operator.decide.load import FleetLoad
from fleet_operator.decide.observed import Observed, Ref, RemoteReport, Rival
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.quantity import add
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import NodeView, PodView, Raw
from fleet_operator.resources.volume_access import modes_of
from fleet_operator.resources.volumes import cache_claim_name
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings

Key = tuple[str, str]
"""Namespace and name of an InferenceModel."""
NO_KEYS: frozenset[Key] = frozenset()
CHILD_KINDS = ("Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim")


class ClusterCache:
    """The observed state. `sees_nodes` is False if the operator may not list nodes."""

    def __init__(self, settings: OperatorSettings, resolver: Resolver, sees_nodes: bool) -> None:
        self.settings = settings
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
        self._access_modes: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        self._of_model: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._nodes: dict[str, NodeView] = {}
        self._used: dict[str, dict[str, int]] = defaultdict(dict)
        self._claims: dict[Key, Claim] = {}
        self._claimants: dict[tuple[str, str], set[Key]] = defaultdict(set)

    def put_model(self, raw: Raw) -> Iterable[Key]:
        """Store an InferenceModel; affects it and all models that share an id with it."""
        key = _key(raw)
        if _is_known(self.models.get(key), raw):
            return NO_KEYS
        self.models[key] = _slim(raw)
        return {key, *self._claim(key)}

    def drop_model(self, raw: Raw) -> Iterable[Key]:
        """Remove an InferenceModel; affects the models that shared an id with it."""
        key = _key(raw)
        known = self.models.get(key)
        if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
            return NO_KEYS
        del self.models[key]
        self._resolver.forget(raw["metadata"]["uid"])
        return self._release(key) - {key}

    def reclaim(self) -> None:
        """Resolve the ids of all models again, after a change of the catalog or a profile."""
        for key in self.models:
            self._claim(key)

    def put_child(self, kind: str, raw: Raw) -> Iterable[Key]:
        """Store a Deployment, Service, PodDisruptionBudget or PersistentVolumeClaim.

        Objects that belong to no model are kept as names that are taken.
        """
        meta = raw["metadata"]
        owner = (meta.get("labels") or {}).get(LABEL_MODEL)
        ref = Ref(kind, meta["name"])
        if kind == "PersistentVolumeClaim":
            self._access_modes[meta["namespace"]][meta["name"]] = modes_of(raw)
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
        if kind == "PersistentVolumeClaim":
            self._access_modes[meta["namespace"]].pop(meta["name"], None)
        if self._foreign[meta["namespace"]].pop(ref, None) is not None:
            return ((meta["namespace"], meta["name"]),)
        owner = (meta.get("labels") or {}).get(LABEL_MODEL)
        key = (meta["namespace"], owner or "")
        known = self._children.get(key, {}).get(ref)
        if known is None or known["metadata"]["uid"] != meta["uid"]:
            return NO_KEYS
        del self._children[key][ref]
        return (key,)

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
        """uid to resourceVersion of all cached objects of a kind that belong to models."""
        if kind == "InferenceModel":
            raws = list(self.models.values())
        elif kind == "Pod":
            return {pod.uid: pod.version for pod in self.pods.values() if pod.model}
        else:
            raws = [raw for children in self._children.values()
                    for ref, raw in children.items() if ref.kind == kind]  # fmt: skip
        return {raw["metadata"]["uid"]: raw["metadata"]["resourceVersion"] for raw in raws}

    def seen(self, kind: str) -> set[str]:
        """Uids of all cached objects of a kind, foreign ones included; names for nodes."""
        if kind == "Node":
            return set(self._nodes)
        if kind == "Pod":
            return set(self.pods)
        if kind == "InferenceModel":
            return set(self.versions(kind))
        others = (uid for foreign in self._foreign.values()
                  for ref, uid in foreign.items() if ref.kind == kind)  # fmt: skip
        return {*self.versions(kind), *others}

    def by_uid(self, kind: str, uid: str) -> Raw | None:
        """A cached object, with as much of it as removing it takes."""
        if kind == "Pod":
            return {"metadata": {"uid": uid}} if uid in self.pods else None
        groups: Iterable[Mapping[Any, Raw]] = (
            [self.models] if kind == "InferenceModel" else self._children.values()
        )
        found = (raw for group in groups for raw in group.values() if raw["metadata"]["uid"] == uid)
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
        pods = sorted(self.model_pods(key), key=lambda pod: (pod.created, pod.name))
        return Observed(
            model=model,
            resolution=self._resolver.resolve(model),
            settings=self.settings,
            now=time.time(),
            children=dict(self._children.get(key, {})),
            foreign=self._taken(key) | self._controlled_by_others(key, uid),
            pods=tuple(pods),
            reports={pod.uid: self.reports[pod.uid] for pod in pods if pod.uid in self.reports},
            hints={pod.uid: self.hints[pod.uid] for pod in pods if pod.uid in self.hints},
            rival=rivals.get(self._claims[key].ids[0]),
            lost=tuple(rivals[alias] for alias in self._claims[key].ids[1:] if alias in rivals),
            remote=self.remotes.get(uid),
            cluster=Cluster(list(self._nodes.values()), self._used) if self._sees_nodes else None,
            access_modes=self._access_modes.get(key[0], {}),
            load=self.load.of(key[0], self._resolver.resolve(model).ids[0]),
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
