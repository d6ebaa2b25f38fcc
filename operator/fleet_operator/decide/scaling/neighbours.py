"""The models that could make room for another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_operator.resources.views import PodView


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with `yieldsAfter`, `name` as namespace/name, and its servers.

    `active` is the Unix time of its last use and `yields_at` the earliest at which it may yield;
    while it is `busy` with requests, that is an estimate.
    """

    name: str
    priority: int
    active: float
    yields_at: float
    busy: bool
    pods: tuple[PodView, ...]

    def may_yield(self, now: float) -> bool:
        return not self.busy and self.yields_at <= now


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The other models: those that may yield at some time, and the servers that are being stopped,
    without those that stop for a third model."""

    candidates: Sequence[Candidate] = ()
    leaving: Sequence[PodView] = ()
