"""The pods of a model, divided into current and old ones, with their diagnoses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_operator import quota
from fleet_operator.decide.diagnosis import Diagnosis, Stage, diagnose
from fleet_operator.decide.observed import Observed
from fleet_operator.names import LABEL_TEMPLATE
from fleet_operator.resources.views import PodView, Raw

QUOTA = "QuotaExceeded"
TRANSIENT = frozenset({"Unschedulable", "SchedulingGated", QUOTA, "WaitingForRoom"})
"""Reasons that resolve themselves once there is capacity."""
PASSING_ERRORS = (
    "Internal error occurred", "failed calling webhook", "context deadline exceeded", "Timeout:",
    "too many requests", "currently unable to handle the request", "etcdserver:",
)  # fmt: skip
"""Parts of messages of errors after which the same pod may be created later."""


@dataclass(frozen=True, slots=True)
class ServerSet:
    """`version` is the digest of the desired pod template; `current` pods have it, `old` do not.

    Pods of another ReplicaSet than the Deployment's current one are old as well: its template can
    be changed without ours, as by `kubectl rollout restart`.
    `wanted` is the desired number of servers.
    """

    version: str
    wanted: int
    current: tuple[tuple[PodView, Diagnosis], ...]
    old: tuple[PodView, ...]
    deployment: Raw | None

    @classmethod
    def read(cls, observed: Observed, version: str, wanted: int) -> ServerSet:
        active = [pod for pod in observed.pods if pod.active]
        # Until the version is applied, the current ReplicaSet belongs to another one.
        newest = observed.replica_set if applied_version(observed.deployment) == version else ""

        def is_current(pod: PodView) -> bool:
            return pod.template == version and (not newest or pod.replica_set == newest)

        return cls(
            version=version,
            wanted=wanted,
            current=tuple(
                (pod, diagnose(pod, observed.reports.get(pod.uid), observed.hints.get(pod.uid, "")))
                for pod in active
                if is_current(pod)
            ),
            old=tuple(pod for pod in active if not is_current(pod)),
            deployment=observed.deployment,
        )

    @property
    def ready(self) -> int:
        """Ready servers of any version."""
        return sum(pod.ready for pod in self.old) + self.current_ready

    @property
    def current_ready(self) -> int:
        return sum(pod.ready for pod, _ in self.current)

    @property
    def is_complete(self) -> bool:
        """Whether there are only current pods, as many as desired, all ready."""
        return not self.old and len(self.current) == self.wanted == self.current_ready

    @property
    def pod_problem(self) -> Diagnosis | None:
        """The diagnosis of a current pod that failed, or else cannot be scheduled."""
        failed = [diagnosis for _, diagnosis in self.current if diagnosis.failed]
        waiting = [diagnosis for _, diagnosis in self.current if diagnosis.reason in TRANSIENT]
        return next(iter(failed + waiting), None)

    @property
    def slowest(self) -> Diagnosis | None:
        """The current pod at the earliest stage."""
        return min((one for _, one in self.current), key=lambda one: one.stage, default=None)

    def deployment_problem(self) -> Diagnosis | None:
        """What the Deployment reports: pods refused by quota or policy, deadline exceeded."""
        for condition in problem_conditions(self.deployment or {}):
            kind, message = condition["type"], condition.get("message", "")
            if kind == "ReplicaFailure":
                if quota.is_used_up(message):
                    return Diagnosis(Stage.SCHEDULING, QUOTA, message)
                # The condition has no code, only the API server's text.
                lasts = not any(part in message for part in PASSING_ERRORS)
                return Diagnosis(Stage.SCHEDULING, "PodsNotCreated", message, failed=lasts)
            if not self.is_complete:
                return Diagnosis(Stage.SCHEDULING, "DeadlineExceeded", message, failed=True)
        return None


def applied_version(deployment: Raw | None) -> str:
    """The digest of the pod template in a Deployment, "" if there is none."""
    template = (deployment or {}).get("spec", {}).get("template", {})
    labels = (template.get("metadata") or {}).get("labels") or {}
    return str(labels.get(LABEL_TEMPLATE, ""))


def problem_conditions(deployment: Raw) -> list[Raw]:
    """The conditions of a Deployment that report a problem."""
    return [
        condition
        for condition in (deployment.get("status") or {}).get("conditions") or ()
        if (condition["type"], condition["status"])
        in (("ReplicaFailure", "True"), ("Progressing", "False"))
    ]


def read_status(deployment: Raw) -> tuple[Any, ...]:
    """What decisions read of a Deployment's status: a change of the rest leads to no other one."""
    return _is_seen_and_empty(deployment), problem_conditions(deployment)


def has_generations(observed: Observed) -> bool:
    """Whether pods of the applied version may belong to several ReplicaSets, so that the
    Deployment's current one has to be known: there are several, or its own has no pod yet."""
    deployment = observed.deployment
    if deployment is None:
        return False
    version = applied_version(deployment)
    sets = {pod.replica_set for pod in observed.pods if pod.active and pod.template == version}
    return len(sets) > 1 or (bool(sets) and _is_seen_and_empty(deployment))


def _is_seen_and_empty(deployment: Raw) -> bool:
    """Whether its controller knows the present version and has made no pod of it."""
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration") == deployment["metadata"].get("generation")
    return seen and bool(status.get("replicas")) and not status.get("updatedReplicas")
