"""Executes a plan: applies and deletes children, writes the status.

The only decision made here is whether a write is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.diff import differs
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.kinds import BY_NAME, MODEL, SERVICE
from fleet_operator.names import ANNOTATION_APPLIED
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

Applied = dict[Ref, tuple[str, str]]
"""Digest and resulting resourceVersion of the last apply of each child. It keeps an object that the
API server normalises from being applied again and again."""


NEW_SERVICES = 16
"""Services created at a time: the API server allocates their addresses one after the other, so with
all workers at it requests to a busy one time out, and each is processed twice. With 8 of them the
API server idles between two."""


@dataclass(slots=True)
class Outcome:
    """What became of a plan's children.

    `refused` has the API server's message for each child that it refused to write, `undeleted` for
    each that it refused to delete.
    `delayed` is set where a request failed for a transient reason, to the seconds the API server
    asked to wait, 0 for none. `changed`: a known child has another version now, from which another
    status may follow.
    """

    writes: int = 0
    refused: dict[Ref, str] = field(default_factory=dict)
    delayed: float | None = None
    changed: bool = False
    undeleted: dict[Ref, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[Ref, str]:
        """The messages of `refused` and `undeleted`."""
        return {**self.refused, **self.undeleted}

    def fail(self, error: ApiError, refused: dict[Ref, str], ref: Ref) -> None:
        """Record the error of a request, in `refused` unless it may pass; of errors that may, the
        longest wait counts."""
        if error.is_transient:
            self.delayed = max(self.delayed or 0.0, error.retry_after)
        else:
            refused[ref] = error.message


class Executor:
    """Executes plans; results of writes go into the cache at once."""

    def __init__(self, api: KubeClient, cache: ClusterCache) -> None:
        self._api = api
        self._cache = cache
        self._applied: dict[Key, Applied] = defaultdict(dict)
        self._new_services = asyncio.Semaphore(NEW_SERVICES)

    async def children(self, observed: Observed, plan: Decision) -> Outcome:
        """Apply and delete children. Raises ApiUnreachable.

        Once the API server sheds a request, the rest is left to the next reconcile: each request
        may wait for minutes before it is given up.
        """
        outcome = Outcome()
        for wanted in plan.objects:
            ref = Ref(wanted["kind"], wanted["metadata"]["name"])
            # A child that is being deleted is created again after its deletion event.
            if ref in observed.foreign or _is_leaving(observed.children.get(ref)):
                continue
            if not self._must_apply(observed, ref, wanted):
                continue
            try:
                outcome.changed |= await self._apply(observed, ref, wanted)
                outcome.writes += 1
            except ApiError as error:
                _log_failure("apply", observed, ref, error)
                outcome.fail(error, outcome.refused, ref)
                if error.is_shed:
                    return outcome
        for ref in plan.delete:
            if _is_leaving(observed.children[ref]):
                continue
            try:
                await self._delete(observed, ref)
                outcome.writes += 1
            except ApiError as error:
                _log_failure("delete", observed, ref, error)
                outcome.fail(error, outcome.undeleted, ref)
                if error.is_shed:
                    return outcome
        return outcome

    async def status(self, observed: Observed, plan: Decision) -> dict[str, Any] | None:
        """Patch the status if it changed; returns the new resource, None if nothing was written."""
        change = merge_patch(observed.status, plan.status)
        if not change:
            return None
        uid = observed.model["metadata"]["uid"]
        # With the uid a patch fails (409) if the resource was deleted and created again.
        body = {"metadata": {"uid": uid}, "status": change}
        try:
            return await self._api.patch_status(MODEL, observed.namespace, observed.name, body)
        except ApiError as error:
            if error.status in (404, 409):  # deleted, or deleted and created again
                return None
            raise

    def forget(self, key: Key) -> None:
        """Drop what is known of a deleted model."""
        self._applied.pop(key, None)

    async def _delete(self, observed: Observed, ref: Ref) -> None:
        # By uid, so that a new object of the name is not deleted.
        uid = observed.children[ref]["metadata"]["uid"]
        await self._api.delete(BY_NAME[ref.kind], observed.namespace, ref.name, uid)
        log(logger, "deleted", kind=ref.kind, namespace=observed.namespace, object=ref.name)

    def _must_apply(self, observed: Observed, ref: Ref, wanted: Mapping[str, Any]) -> bool:
        found = observed.children.get(ref)
        if found is None:
            return True
        if not differs(wanted, found):
            return False
        digest_wanted = wanted["metadata"]["annotations"][ANNOTATION_APPLIED]
        last = self._applied[observed.namespace, observed.name].get(ref)
        return last != (digest_wanted, found["metadata"]["resourceVersion"])

    async def _apply(self, observed: Observed, ref: Ref, wanted: Mapping[str, Any]) -> bool:
        """Apply a child, by force only if it is known: an unknown object must not be taken over.

        Returns whether a known child has another version now, also by changes that others made
        meanwhile. The watch's events of these are not newer than the cache, so they enqueue
        nothing.
        """
        known = ref in observed.children
        allocates = ref.kind == SERVICE.kind and not known
        async with self._new_services if allocates else nullcontext():
            result = await self._api.apply(BY_NAME[ref.kind], wanted, force=known)
        version = result["metadata"]["resourceVersion"]
        self._applied[observed.namespace, observed.name][ref] = (
            wanted["metadata"]["annotations"][ANNOTATION_APPLIED],
            version,
        )
        # Before the watch delivers it: the next reconcile must not apply it again.
        self._cache.put_child(ref.kind, result)
        log(logger, "applied", kind=ref.kind, namespace=observed.namespace, object=ref.name,
            created=not known)  # fmt: skip
        return known and observed.children[ref]["metadata"]["resourceVersion"] != version


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386 merge patch from `before` to `after`; empty if they are equal."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = merge_patch(old, value)
            if inner:
                patch[name] = inner
        elif value != old:
            patch[name] = value
    return patch


def _log_failure(action: str, observed: Observed, ref: Ref, error: ApiError) -> None:
    log(logger, f"{action}_delayed" if error.is_transient else f"{action}_refused",
        level=logging.WARNING, kind=ref.kind, namespace=observed.namespace, object=ref.name,
        status=error.status, error=error.message)  # fmt: skip


def _is_leaving(found: Mapping[str, Any] | None) -> bool:
    return found is not None and found["metadata"].get("deletionTimestamp") is not None
