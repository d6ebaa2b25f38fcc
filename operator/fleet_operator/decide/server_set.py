"""The pods of a model, divided into current and old ones, with their diagnoses."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_operator.decide.diagnosis import Diagnosis, Stage, diagnose
from fleet_operator.decide.observed import Observed
from fleet_operator.resources.views import PodView, Raw

TRANSIENT = frozenset({"Unschedulable", "SchedulingGated"})
"""Reasons that resolve themselves once there is capacity."""


@dataclass(frozen=True, slots=True)
class ServerSet:
    """`version` is the digest of the desired pod template; `current` pods have it, `old` do not.

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
        return cls(
            version=version,
            wanted=wanted,
            current=tuple(
                (pod, diagnose(pod, observed.reports.get(pod.uid), observed.hints.get(pod.uid, "")))
                for pod in active
                if pod.template == version
            ),
            old=tuple(pod for pod in active if pod.template != version),
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
    def trouble(self) -> Diagnosis | None:
        """The diagnosis of a current pod that failed or cannot be scheduled."""
        failed = [diagnosis for _, diagnosis in self.current if diagnosis.failed]
        waiting = [diagnosis for _, diagnosis in self.current if diagnosis.reason in TRANSIENT]
        return next(iter(failed + waiting), None)

    @property
    def slowest(self) -> Diagnosis | None:
        """The current pod at the earliest stage."""
        return min((one for _, one in self.current), key=lambda one: one.stage, default=None)

    def deployment_trouble(self) -> Diagnosis | None:
        """Failures the Deployment reports: pods refused by quota or policy, deadline exceeded."""
        status = (self.deployment or {}).get("status") or {}
        for condition in status.get("conditions") or ():
            kind, holds = condition["type"], condition["status"]
            message = condition.get("message", "")
            if kind == "ReplicaFailure" and holds == "True":
                return Diagnosis(Stage.SCHEDULING, "PodsNotCreated", message, failed=True)
            if kind == "Progressing" and holds == "False" and not self.is_complete:
                return Diagnosis(Stage.SCHEDULING, "DeadlineExceeded", message, failed=True)
        return None
