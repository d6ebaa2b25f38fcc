"""The next step of a rollout: pod template, strategy, and whether to roll back. Pure.

A version that replaces the old one in place (hand-over, on a full cluster) and fails is rolled
back: the last template that became ready is applied again, from the ReplicaSet that still has it.
With surge no rollback is needed, since the old servers keep running.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.status import Rollout
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.rollout_strategy import (
    HAND_OVER,
    PATIENCE_SECONDS,
    SURGE,
    RolloutChoice,
    choose,
)
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.names import LABEL_TEMPLATE
from fleet_operator.resources.children import RolloutStrategy
from fleet_operator.resources.images import Problem
from fleet_operator.resources.server_container import Object
from fleet_operator.resources.views import PodView

RESTARTS = 2
"""Restarts after which a new version counts as failed."""
STUCK_SECONDS = 60.0
"""Time after which a container that cannot be created counts as failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """`choice` is set when the strategy is chosen now; `requeue_after` is in seconds."""

    template: Object
    strategy: RolloutStrategy
    rollout: Rollout | None
    choice: RolloutChoice | None = None
    problem: Problem | None = None
    requeue_after: float | None = None
    wants_stable_template: str | None = None

    @property
    def version(self) -> str:
        return version_of(self.template)


def version_of(template: Object) -> str:
    """The digest in a pod template's labels."""
    return str(template["metadata"]["labels"][LABEL_TEMPLATE])


def next_step(observed: Observed, template: Object, before: Rollout | None) -> Step:
    """The step towards `template`, that of the current spec."""
    rollout, version = before or Rollout(), version_of(template)
    servers = ServerSet.read(observed, version, 1)
    if servers.current_ready:
        rollout = rollout.model_copy(
            update={"stable_hash": version, "failed_hash": None, "failed_message": None}
        )
    present = _current(observed)
    if present is None:
        choice = choose(template["spec"], (), observed.cluster)
        return Step(template, choice.strategy, rollout, choice)
    if rollout.failed_hash not in (None, version):  # the spec was changed since
        rollout = rollout.model_copy(update={"failed_hash": None, "failed_message": None})
    strategy, applied = present
    if rollout.failed_hash is None and applied == version and strategy == HAND_OVER:
        rollout = _marked_failed(servers, rollout, version, observed.now)
    if rollout.failed_hash == version:
        return _rolled_back(observed, template, strategy, rollout)
    if applied != version:
        choice = choose(template["spec"], _serving(observed), observed.cluster)
        return Step(template, choice.strategy, rollout, choice, requeue_after=PATIENCE_SECONDS)
    return _continued(observed, servers, template, strategy, rollout)


def _continued(
    observed: Observed,
    servers: ServerSet,
    template: Object,
    strategy: RolloutStrategy,
    rollout: Rollout,
) -> Step:
    """Choose the strategy again while a surge pod waits for a node: another pod may have taken its
    place, or a node may be gone."""
    waiting = [pod for pod, one in servers.current if one.reason == "Unschedulable"]
    if strategy != SURGE or not waiting or not servers.old:
        return Step(template, strategy, rollout)
    waited = observed.now - min(pod.created for pod in waiting)
    if waited < PATIENCE_SECONDS:
        return Step(template, strategy, rollout, requeue_after=PATIENCE_SECONDS - waited)
    choice = choose(template["spec"], servers.old, observed.cluster)
    changed = choice if choice.strategy != strategy else None
    return Step(template, choice.strategy, rollout, changed, requeue_after=PATIENCE_SECONDS)


def _marked_failed(servers: ServerSet, rollout: Rollout, version: str, now: float) -> Rollout:
    """`rollout` with the version marked as failed, if it is and an older one was ready before."""
    if servers.ready or rollout.stable_hash in (None, version):
        return rollout
    for pod, one in servers.current:
        hopeless = pod.restarts >= RESTARTS or now - pod.created >= STUCK_SECONDS
        if one.failed and hopeless:
            message = f"{one.reason}: {one.message}"
            return rollout.model_copy(
                update={"failed_hash": version, "failed_message": message[:1000]}
            )
    late = servers.deployment_trouble()
    if late is not None and late.reason == "DeadlineExceeded":
        return rollout.model_copy(
            update={"failed_hash": version, "failed_message": late.message[:1000]}
        )
    return rollout


def _rolled_back(
    observed: Observed, template: Object, strategy: RolloutStrategy, rollout: Rollout
) -> Step:
    stable = observed.stable_template
    problem = Problem(
        "RolledBack",
        "The version of this spec failed and was rolled back; change the spec to try again. "
        f"{rollout.failed_message}",
    )
    if stable is None:
        return Step(template, strategy, rollout, wants_stable_template=rollout.stable_hash)
    return Step(stable, HAND_OVER, rollout, problem=problem)


def _current(observed: Observed) -> tuple[RolloutStrategy, str] | None:
    """Strategy and template digest of the existing Deployment."""
    deployment = observed.deployment
    if deployment is None:
        return None
    # The strategy is read from the Deployment, so that it outlives a restart of the operator.
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
    strategy = HAND_OVER if rolling.get("maxSurge") == 0 else SURGE
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return strategy, labels.get(LABEL_TEMPLATE, "")


def _serving(observed: Observed) -> list[PodView]:
    return [pod for pod in observed.pods if pod.active]
