"""One Lease (coordination.k8s.io/v1) that a process acquires and renews, as in client-go.

Expiry is measured with the local monotonic clock, from the moment a change of the Lease was seen;
clocks of nodes need not agree. Source: k8s.io/client-go/tools/leaderelection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_operator.kinds import ACCOUNT_REVIEW, LEASE
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

Owner = Mapping[str, str]
"""An owner reference: the garbage collector deletes what it is on with its owner."""

ANNOTATION_CONTENDER = "modelfleet.dev/contender"
"""On a Lease: another holder that tried to acquire it, and when (`HOLDER RFC3339`)."""
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: others may take the Lease over after `expires` without a renewal; the holder no
    longer relies on it after `deadline`; `contention` is how long a contender counts."""

    expires: float
    deadline: float
    contention: float = 90.0


class Lease:
    """The Lease `name` in `namespace`, for the identity `holder`.

    `owner` is an object in the same namespace that the Lease is deleted with.
    """

    def __init__(
        self,
        api: KubeClient,
        namespace: str,
        name: str,
        holder: str,
        terms: Terms,
        clock: Callable[[], float] = time.monotonic,
        owner: Owner | None = None,
    ) -> None:
        self.namespace = namespace
        self._api = api
        self._name = name
        self._holder = holder
        self._terms = terms
        self._clock = clock
        self._owners = [dict(owner)] if owner else []
        self._version = self._uid = ""
        self._record: tuple[str, str] | None = None
        self._changed = 0.0
        self._held_until = 0.0
        self._contention = ("", 0.0)
        self.other = ""
        """The identity that holds the Lease instead, "" if unknown."""
        self.acquisitions = 0
        """How often it was acquired; a renewal after the deadline counts."""

    @property
    def held(self) -> bool:
        """Whether the last renewal is younger than the deadline."""
        return self._clock() < self._held_until

    @property
    def contender(self) -> str:
        """Another identity that tried to acquire the held Lease recently, or ""."""
        value, seen = self._contention
        recent = self._clock() - seen < self._terms.contention
        return value.partition(" ")[0] if value and recent else ""

    async def renew(self, ended: str = "") -> bool:
        """Acquire or renew the Lease; returns whether it is held.

        From the holder `ended`, which is known to have ended, it is taken over at once. Raises
        ApiError and ApiUnreachable.
        """
        began = self._clock()
        # The holder knows the version; only a change by someone else makes it read again.
        known = {"resourceVersion": self._version}
        if not (self.held and self._version and await self._write(began, known)):
            await self._acquire(began, ended)
        return self.held

    async def contend(self) -> None:
        """Record the refusal in an annotation that the holder reads.

        Raises ApiError and ApiUnreachable.
        """
        value = f"{self._holder} {_now()}"
        await self._patch({"metadata": {"annotations": {ANNOTATION_CONTENDER: value}}})

    async def release(self) -> None:
        """Delete a held Lease, so that others may acquire it at once and nothing is left behind.

        It may be called again after an error. Raises ApiError and ApiUnreachable.
        """
        # One that has lapsed is deleted as well, unless another holder has taken it over.
        if self._uid and (self.held or await self.renew()):
            self._held_until = 0.0
            # With the uid: another holder may have deleted and created it meanwhile.
            await self._api.delete(LEASE, self.namespace, self._name, self._uid)
            self._uid = ""

    async def _acquire(self, began: float, ended: str) -> None:
        found = await self._api.get(LEASE, self.namespace, self._name)
        if found is None:
            await self._create(began)
            return
        spec, meta = found.get("spec") or {}, found["metadata"]
        holder = str(spec.get("holderIdentity") or "")
        record = (holder, str(spec.get("renewTime") or ""))
        # Only that the record changes counts: renewTime is from the clock of another node.
        if record != self._record:
            self._record, self._changed = record, self._clock()
        value = (meta.get("annotations") or {}).get(ANNOTATION_CONTENDER, "")
        if value != self._contention[0]:
            self._contention = (value, self._clock())
        lasts = float(spec.get("leaseDurationSeconds") or self._terms.expires)
        if holder not in ("", self._holder, ended) and self._clock() - self._changed < lasts:
            self.other, self._held_until = holder, 0.0
            return
        # An owner may differ for the same holder as well, after an upgrade.
        meta = {"resourceVersion": meta["resourceVersion"], "ownerReferences": self._owners}
        await self._write(began, meta, took_over=holder != self._holder)

    async def _create(self, began: float) -> None:
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {
                "namespace": self.namespace,
                "name": self._name,
                "ownerReferences": self._owners,
            },
            "spec": self._spec(took_over=True),
        }
        try:
            made = await self._api.create(LEASE, body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            return
        self._hold(began, made)

    async def _write(self, began: float, meta: Mapping[str, Any], took_over: bool = False) -> bool:
        """Renew the Lease if it still has the resourceVersion of `meta`."""
        written = await self._patch({"metadata": meta, "spec": self._spec(took_over)})
        if written is None:
            self._version = ""
            return False
        self._hold(began, written)
        return True

    async def _patch(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Merge patch; None if the Lease has another version or is gone."""
        try:
            return await self._api.merge_patch(LEASE, self.namespace, self._name, body)
        except ApiError as error:
            if error.status in (404, CONFLICT):
                return None
            raise

    def _hold(self, began: float, written: dict[str, Any]) -> None:
        self._version = written["metadata"]["resourceVersion"]
        self._uid = written["metadata"]["uid"]
        if not self.held:
            self.acquisitions += 1
        # From before the request: the API server may have stored it at once.
        self._held_until = began + self._terms.deadline
        self.other = ""

    def _spec(self, took_over: bool) -> dict[str, Any]:
        now = _now()
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": int(self._terms.expires),
            "renewTime": now,
        }
        # A merge patch keeps the old acquireTime of a renewal.
        return {**spec, "acquireTime": now} if took_over else spec


async def account(api: KubeClient, namespace: str) -> Owner | None:
    """The ServiceAccount in `namespace` that the requests of `api` are made as, as an owner.

    None if they are made as someone else, or if the API server does not answer who it is.
    """
    body = {"apiVersion": ACCOUNT_REVIEW.api_version, "kind": ACCOUNT_REVIEW.kind, "metadata": {}}
    try:
        user = (await api.create(ACCOUNT_REVIEW, body))["status"]["userInfo"]
    except KubeError as error:
        log(logger, "account_unknown", level=logging.WARNING, error=str(error))
        return None
    prefix, _, name = user["username"].rpartition(":")
    if prefix != f"system:serviceaccount:{namespace}":
        return None
    return {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": user["uid"]}


def _now() -> str:
    """RFC 3339 with microseconds, the format of MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
