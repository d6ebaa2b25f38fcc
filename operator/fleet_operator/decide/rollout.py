"""The next step of a rollout: pod template, strategy, and whether to roll back. Pure.

A version that replaces the old one in place (hand-over, on a full cluster) and fails is rolled
back: the last template that became ready is applied again, from the ReplicaSet that still has it.
With surge no rollback is needed, since the old servers keep running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec_parts import RolloutMode
from fleet_contract.status import Rollout
from fleet_operator.decide.capacity import fitting
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.rollout_strategy import (
    CAPACITY_UNKNOWN,
    FITS_NOWHERE,
    HAND_OVER,
    PATIENCE_SECONDS,
    SURGE,
    RolloutChoice,
    choose,
)
from fleet_operator.decide.server_set import ServerSet, applied_version
from fleet_operator.decide.status import read_part
from fleet_operator.decide.surge import Blockage, blockage
from fleet_operator.names import LABEL_TEMPLATE
from fleet_operator.resources.children import RolloutStrategy
from fleet_operator.resources.images import Problem
from fleet_operator.resources.server_container import Object
from fleet_operator.resources.views import LABEL_REPLICA_SET, PodView
from fleet_operator.resources.volume_access import pinned
from fleet_operator.timestamps import parse, render

RESTARTS = 2
"""Restarts after which a new version counts as failed."""
STUCK_SECONDS = 60.0
"""Time after which a container that cannot be created counts as failed."""
BLOCKED_SECONDS = 60.0
"""Time after which a surge becomes a hand-over although a node seems to have room and the scheduler
names nothing that `capacity` does not consider: one of the two may be behind."""
TURN_SECONDS = 300.0
"""Time after which a version that waits for its turn is checked again without an event: a rollout
that has been failing for long no longer blocks others."""
RETRY_SECONDS = 5.0
"""Time after which a pod that a quota refused is tried again, once the old ones are gone. Without
this, the backoff of the ReplicaSet controller is as long as the old servers took to drain."""
UNPLACED_SECONDS = 60.0
"""Time without any server after which a successor that no node takes is rolled back."""


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """`choice` is set when the strategy is chosen now; `requeue_after` is in seconds.

    `begins`: the version is applied now, and servers that work are replaced by it. `waits_for`:
    models whose rollouts come first; `template` is the present one until then. `retry` is an
    annotation of the Deployment whose change makes its controllers reconcile it again.
    """

    template: Object
    strategy: RolloutStrategy
    rollout: Rollout | None
    choice: RolloutChoice | None = None
    problem: Problem | None = None
    requeue_after: float | None = None
    wants_stable_template: str | None = None
    begins: bool = False
    waits_for: tuple[str, ...] = ()
    retry: str | None = None

    @property
    def version(self) -> str:
        return version_of(self.template)


def version_of(template: Object) -> str:
    """The digest in a pod template's labels."""
    return str(template["metadata"]["labels"][LABEL_TEMPLATE])


def template_of(found: Mapping[str, Any]) -> Object:
    """The pod template of a Deployment or ReplicaSet, without what their controller added."""
    template = found["spec"]["template"]
    meta = {key: value for key, value in template["metadata"].items() if value is not None}
    labels = {
        name: value
        for name, value in (meta.get("labels") or {}).items()
        if name != LABEL_REPLICA_SET
    }
    return {"metadata": {**meta, "labels": labels}, "spec": template["spec"]}


def is_rolling(observed: Observed) -> bool:
    """Whether servers that worked are being replaced: old ones are left, or the applied version has
    not been ready yet. Read from the cluster, so that it outlives a restart of the operator."""
    deployment = observed.deployment
    if deployment is None or not deployment["spec"].get("replicas"):
        return False
    version = applied_version(deployment)
    rollout = read_part(Rollout, observed.status.get("rollout"))
    if any(pod.template != version for pod in observed.pods if pod.active):
        return True
    return rollout is not None and rollout.stable_hash not in (None, version)


def next_step(observed: Observed, template: Object, before: Rollout | None) -> RolloutStep:
    """The step towards `template`, that of the current spec, when it is this model's turn."""
    rollout, version = before or Rollout(), version_of(template)
    servers = ServerSet.read(observed, version, 1)
    if servers.current_ready:
        rollout = rollout.model_copy(
            update={"stable_hash": version, "failed_hash": None, "failed_message": None}
        )
    present = _current(observed)
    if present is None:
        choice = _choice(observed, template, ())
        return RolloutStep(template, choice.strategy, rollout, choice)
    if rollout.failed_hash not in (None, version):  # the spec was changed since
        rollout = rollout.model_copy(update={"failed_hash": None, "failed_message": None})
    strategy, applied = present
    # Only a hand-over can leave a model without servers: a surge keeps the old ones.
    if applied == version and strategy == HAND_OVER:
        rollout = _with_unplaced(observed, servers, rollout)
        if rollout.failed_hash is None:
            rollout = _marked_failed(observed, servers, rollout, version)
    elif rollout.unplaced_since is not None:
        rollout = rollout.model_copy(update={"unplaced_since": None})
    if rollout.failed_hash == version:
        return _rolled_back(observed, template, strategy, rollout)
    if applied != version:
        return _begun(observed, template, strategy, rollout)
    return _continued(observed, servers, template, strategy, rollout)


def _begun(
    observed: Observed,
    template: Object,
    strategy: RolloutStrategy,
    rollout: Rollout,
) -> RolloutStep:
    """Apply a new version, unless it would replace working servers before its turn."""
    serves = any(pod.ready for pod in observed.pods if pod.active)
    # A rollout that replaces no working server waits for no other.
    ahead = observed.turn.waits_for(template["spec"]) if serves else ()
    if ahead and observed.deployment is not None:
        present = template_of(observed.deployment)
        return RolloutStep(present, strategy, rollout, waits_for=ahead, requeue_after=TURN_SECONDS)
    choice = _choice(observed, template, _serving(observed))
    return RolloutStep(template, choice.strategy, rollout, choice, requeue_after=PATIENCE_SECONDS,
                begins=serves)  # fmt: skip


def _continued(
    observed: Observed,
    servers: ServerSet,
    template: Object,
    strategy: RolloutStrategy,
    rollout: Rollout,
) -> RolloutStep:
    """Choose the strategy again while a surge is blocked: another pod may have taken its place, a
    node may be gone, or only the scheduler knows why the new pod fits nowhere."""
    mode = _mode(observed)
    blocked = blockage(servers, observed.now)
    if mode is not RolloutMode.AUTO:
        choice = _choice(observed, template, servers.old)
        changed = choice if strategy != choice.strategy else None
        return _placed_later(observed, blocked, template, choice.strategy, rollout, changed)
    if strategy != SURGE or blocked is None or not servers.old:
        return _placed_later(observed, blocked, template, strategy, rollout)
    waited = observed.now - blocked.since
    if waited < PATIENCE_SECONDS:
        return RolloutStep(template, strategy, rollout, requeue_after=PATIENCE_SECONDS - waited)
    choice = _choice(observed, template, servers.old)
    fits = choice.strategy == SURGE and choice.reason != FITS_NOWHERE
    # The pod should fit but is not placed: after a while the scheduler is believed, and at once
    # where the nodes cannot explain it.
    knows_nodes = blocked.by_nodes and choice.reason != CAPACITY_UNKNOWN
    if fits and (waited >= BLOCKED_SECONDS or not knows_nodes):
        choice = RolloutChoice(
            HAND_OVER,
            "SurgeBlocked",
            "A new server could not be placed next to the old ones, so each old server is stopped "
            f"before its successor starts. {blocked.message}"[:1000],
            servers.old[0].node,
        )
    changed = choice if choice.strategy != strategy else None
    return RolloutStep(template, choice.strategy, rollout, changed, requeue_after=PATIENCE_SECONDS)


def _choice(observed: Observed, template: Object, old: Any) -> RolloutChoice:
    pod = template["spec"]
    volume = pinned(pod, observed.access_modes)
    return choose(pod, old, observed.cluster, _mode(observed), volume)


def _mode(observed: Observed) -> RolloutMode:
    spec = observed.resolution.spec
    return spec.rollout.strategy if spec is not None else RolloutMode.AUTO


def _with_unplaced(observed: Observed, servers: ServerSet, rollout: Rollout) -> Rollout:
    """`rollout` with the time since when there is no server, not even one that is leaving, and its
    successor cannot be placed."""
    alone = len(servers.current) == len(observed.present) and not servers.ready
    since = None
    if alone and blockage(servers, observed.now) is not None:
        since = rollout.unplaced_since or render(observed.now)
    return rollout.model_copy(update={"unplaced_since": since})


def _placed_later(
    observed: Observed,
    blocked: Blockage | None,
    template: Object,
    strategy: RolloutStrategy,
    rollout: Rollout,
    choice: RolloutChoice | None = None,
) -> RolloutStep:
    """Continue; check again when a successor without a node has waited long enough."""
    since = parse(rollout.unplaced_since)
    if since is None:
        return RolloutStep(template, strategy, rollout, choice)
    left = since + UNPLACED_SECONDS - observed.now
    replaced = rollout.stable_hash not in (None, version_of(template))
    unknown = replaced and left <= 0 and observed.stable_template is None
    again = left if left > 0 else UNPLACED_SECONDS
    by_quota = blocked is not None and not blocked.has_pod
    return RolloutStep(
        template,
        strategy,
        rollout,
        choice,
        requeue_after=min(again, RETRY_SECONDS) if by_quota else again,
        wants_stable_template=rollout.stable_hash if unknown else None,
        # Rounded: within one interval every reconcile writes the same value.
        retry=render(observed.now // RETRY_SECONDS * RETRY_SECONDS) if by_quota else None,
    )


def _marked_failed(
    observed: Observed, servers: ServerSet, rollout: Rollout, version: str
) -> Rollout:
    """`rollout` with the version marked as failed, if it is and an older one was ready before."""
    # Without an earlier working version there is nothing to roll back to.
    if servers.ready or rollout.stable_hash in (None, version):
        return rollout
    for pod, one in servers.current:
        is_stuck = pod.restarts >= RESTARTS or observed.now - pod.created >= STUCK_SECONDS
        if one.failed and is_stuck:
            return _failed(rollout, version, f"{one.reason}: {one.message}")
    late = servers.deployment_problem()
    if late is not None and late.reason == "DeadlineExceeded":
        return _failed(rollout, version, late.message)
    blocked = blockage(servers, observed.now)
    if blocked is not None and _is_unplaced(observed, rollout) and _stable_fits(observed):
        return _failed(rollout, version, f"No node took a server of it. {blocked.message}")
    return rollout


def _failed(rollout: Rollout, version: str, message: str) -> Rollout:
    return rollout.model_copy(
        update={"failed_hash": version, "failed_message": message[:1000], "unplaced_since": None}
    )


def _is_unplaced(observed: Observed, rollout: Rollout) -> bool:
    since = parse(rollout.unplaced_since)
    return since is not None and observed.now - since >= UNPLACED_SECONDS


def _stable_fits(observed: Observed) -> bool:
    """Whether the last working version would have a node; where nothing fits, it is no better."""
    stable, cluster = observed.stable_template, observed.cluster
    if stable is None:
        return False
    return cluster is None or bool(fitting(stable["spec"], cluster.nodes, cluster.used))


def _rolled_back(
    observed: Observed, template: Object, strategy: RolloutStrategy, rollout: Rollout
) -> RolloutStep:
    stable = observed.stable_template
    problem = Problem(
        "RolledBack",
        "The version of this spec failed and was rolled back; change the spec to try again. "
        f"{rollout.failed_message}",
    )
    if stable is None:
        return RolloutStep(template, strategy, rollout, wants_stable_template=rollout.stable_hash)
    return RolloutStep(stable, HAND_OVER, rollout, problem=problem)


def _current(observed: Observed) -> tuple[RolloutStrategy, str] | None:
    """Strategy and template digest of the existing Deployment."""
    deployment = observed.deployment
    if deployment is None:
        return None
    # The strategy is read from the Deployment, so that it outlives a restart of the operator.
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
    strategy = HAND_OVER if rolling.get("maxSurge") == 0 else SURGE
    return strategy, applied_version(deployment)


def _serving(observed: Observed) -> list[PodView]:
    return [pod for pod in observed.pods if pod.active]
