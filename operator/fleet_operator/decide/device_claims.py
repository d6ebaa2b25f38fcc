"""Which ResourceClaimTemplates of a model's earlier versions are still needed. Pure."""

from __future__ import annotations

from fleet_contract.status import Rollout
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.kinds import DEVICE_CLAIM_TEMPLATE


def needed(observed: Observed, version: str, rollout: Rollout | None) -> frozenset[Ref]:
    """All of them until `version` is stable and no server of another one is left: pods that replace
    those of an earlier version, and a rollback to it, need its template."""
    settled = rollout is not None and rollout.stable_hash == version
    if settled and all(pod.template == version for pod in observed.present):
        return frozenset()
    return frozenset(ref for ref in observed.children if ref.kind == DEVICE_CLAIM_TEMPLATE.kind)
