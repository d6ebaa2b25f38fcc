"""Observed objects of the kinds that InferenceModels have as children, and their names.

An object that refers to the InferenceModel of its name is kept whole; of all others only the name
is kept, because a child cannot have it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from fleet_contract.names import LABEL_MODEL
from fleet_operator.decide.observed import Ref
from fleet_operator.decide.replica_writers import DEPLOYMENT
from fleet_operator.decide.server_set import read_status
from fleet_operator.resources import ownership
from fleet_operator.resources.views import Raw

ModelKey = tuple[str, str]
"""Namespace and name of an InferenceModel."""


class TakenName(NamedTuple):
    """An object that is not a child; `labelled`: it has the label of a model nevertheless."""

    uid: str
    version: str
    labelled: bool


class ChildCache:
    """Children and taken names. Changes return the model that they affect, None for none."""

    def __init__(self) -> None:
        self._related: dict[ModelKey, dict[Ref, Raw]] = defaultdict(dict)
        self._taken: dict[str, dict[Ref, TakenName]] = defaultdict(dict)

    def put(self, kind: str, raw: Raw) -> ModelKey | None:
        """Store an object; None if nothing has changed that decisions depend on."""
        meta = raw["metadata"]
        ref, key = Ref(kind, meta["name"]), _model_key(kind, raw)
        if key is not None and ownership.refers_to_its_model(kind, raw):
            self._taken[meta["namespace"]].pop(ref, None)
            known = self._related[key].get(ref)
            if is_known(known, raw):
                return None
            self._related[key][ref] = new = slim(raw)
            return None if known is not None and _decides_the_same(kind, known, new) else key
        self._taken[meta["namespace"]][ref] = TakenName(
            meta["uid"], meta.get("resourceVersion", ""), _is_labelled(raw)
        )
        if key is None or self._related.get(key, {}).pop(ref, None) is None:
            return None
        return key

    def current(self, kind: str, raw: Raw) -> Raw | None:
        """The cached version of a child with the name of this object."""
        key = _model_key(kind, raw)
        objects = self._related.get(key, {}) if key is not None else {}
        return objects.get(Ref(kind, raw["metadata"]["name"]))

    def drop(self, kind: str, raw: Raw) -> ModelKey | None:
        """Remove an object, unless a newer one has its name."""
        meta = raw["metadata"]
        ref, key = Ref(kind, meta["name"]), _model_key(kind, raw)
        taken = self._taken[meta["namespace"]].get(ref)
        if taken is not None and taken.uid == meta["uid"]:
            del self._taken[meta["namespace"]][ref]
            return key
        known = self._related.get(key, {}).get(ref) if key is not None else None
        if key is None or known is None or known["metadata"]["uid"] != meta["uid"]:
            return None
        del self._related[key][ref]
        return key

    def of(self, key: ModelKey, uid: str) -> tuple[dict[Ref, Raw], frozenset[Ref]]:
        """Children of the model with this uid, those to be adopted included, and names of children
        that other objects have."""
        children, taken = {}, set()
        for ref, raw in self._related.get(key, {}).items():
            if ownership.is_controlled_by(raw, uid) or ownership.may_adopt(raw):
                children[ref] = raw
            else:
                taken.add(ref)
        others = self._taken.get(key[0], {})
        names = (Ref(kind, name) for kind, name in ownership.child_names(key[1]))
        return children, frozenset(taken.union(ref for ref in names if ref in others))

    def versions(self, kind: str) -> dict[str, str]:
        """uid to resourceVersion of all objects of a kind with the label of a model."""
        related = {
            raw["metadata"]["uid"]: raw["metadata"]["resourceVersion"]
            for objects in self._related.values()
            for ref, raw in objects.items()
            if ref.kind == kind and _is_labelled(raw)
        }
        taken = {
            one.uid: one.version
            for objects in self._taken.values()
            for ref, one in objects.items()
            if ref.kind == kind and one.labelled
        }
        return {**related, **taken}

    def uids(self, kind: str) -> set[str]:
        """Uids of all objects of a kind."""
        related = {
            raw["metadata"]["uid"]
            for objects in self._related.values()
            for ref, raw in objects.items()
            if ref.kind == kind
        }
        taken = {
            one.uid
            for objects in self._taken.values()
            for ref, one in objects.items()
            if ref.kind == kind
        }
        return related | taken

    def by_uid(self, kind: str, uid: str) -> Raw | None:
        """An object, with as much of it as `drop` needs."""
        for objects in self._related.values():
            for ref, raw in objects.items():
                if ref.kind == kind and raw["metadata"]["uid"] == uid:
                    return raw
        for namespace, names in self._taken.items():
            for ref, one in names.items():
                if ref.kind == kind and one.uid == uid:
                    return {"metadata": {"uid": uid, "name": ref.name, "namespace": namespace}}
        return None


def is_known(known: Raw | None, raw: Raw) -> bool:
    """Whether `raw` is not newer than the cached version of the same object.

    Own writes are cached before the watch delivers them. resourceVersions are comparable since 1.35
    (kubernetes.io/docs/reference/using-api/api-concepts).
    """
    if known is None or known["metadata"]["uid"] != raw["metadata"]["uid"]:
        return False
    old, new = known["metadata"]["resourceVersion"], raw["metadata"]["resourceVersion"]
    return int(new) <= int(old) if new.isdigit() and old.isdigit() else bool(new == old)


def slim(raw: Raw) -> Raw:
    """The object without managedFields, often its largest field and never read."""
    meta = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    return {**raw, "metadata": meta}


def _decides_the_same(kind: str, known: Raw, new: Raw) -> bool:
    """Whether decisions read nothing that differs.

    A starting Deployment has several versions that only count its pods, which are observed
    themselves.
    """
    if kind == DEPLOYMENT and read_status(known) == read_status(new):
        known, new = ({**raw, "status": None} for raw in (known, new))
    return _without_version(known) == _without_version(new)


def _without_version(raw: Raw) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": None}}


def _model_key(kind: str, raw: Raw) -> ModelKey | None:
    meta: dict[str, Any] = raw["metadata"]
    model = ownership.model_of(kind, meta["name"])
    return None if model is None else (meta["namespace"], model)


def _is_labelled(raw: Raw) -> bool:
    return LABEL_MODEL in (raw["metadata"].get("labels") or {})
