"""One Lease (coordination.k8s.io/v1) that a process acquires and renews, as in client-go.

Expiry is measured with the local monotonic clock, from the moment a change of the Lease was seen;
clocks of nodes need not agree. Source: k8s.io/client-go/tools/leaderelection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.kinds import LEASE

Owner = Mapping[str, str]
"""An owner reference: the object that has it is deleted once the owner is gone."""

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
        self._version = ""
        self._record: tuple[str, str] | None = None
        self._renewed: tuple[str, str] | None = None
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

    async def release(self) -> bool:
        """Delete the Lease if this process was the last to renew it.

        Others may then acquire it at once, and nothing is left behind. Returns False if it was
        changed at the same time; it may be called again then, and after an error. Raises ApiError
        and ApiUnreachable.
        """
        self._held_until = 0.0
        found = await self._api.get(LEASE, self.namespace, self._name) if self._renewed else None
        # Another process may have renewed it, also in the name of the same holder.
        if found is None or _record(found) != self._renewed:
            return True
        meta = found["metadata"]
        return await self._api.delete(
            LEASE, self.namespace, self._name, meta["uid"], meta["resourceVersion"]
        )

    async def _acquire(self, began: float, ended: str) -> None:
        found = await self._api.get(LEASE, self.namespace, self._name)
        if found is None:
            await self._create(began)
            return
        spec, meta = found.get("spec") or {}, found["metadata"]
        record = _record(found)
        holder = record[0]
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
        # The owner may be another although the holder is the same, such as after an upgrade.
        changed = {"resourceVersion": meta["resourceVersion"], "ownerReferences": self._owners}
        await self._write(began, changed, took_over=holder != self._holder)

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
        self._renewed = _record(written)
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


def _record(found: Mapping[str, Any]) -> tuple[str, str]:
    """Holder and time of the last renewal of a Lease."""
    spec = found.get("spec") or {}
    return str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")


def _now() -> str:
    """RFC 3339 with microseconds, the format of MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
