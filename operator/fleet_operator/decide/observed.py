"""Everything one reconcile looks at, gathered by `world`: a snapshot, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fleet_operator.decide.autoscale import Load
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.resources.resolve import Resolution
from fleet_operator.resources.views import PodView, Raw
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings


class Ref(NamedTuple):
    """A child: kind and name, in the namespace of its model."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Rival:
    """Another InferenceModel that has one of the same ids or aliases, `identifier`."""

    name: str
    identifier: str


@dataclass(frozen=True, slots=True)
class RemoteReport:
    """Whether `address` answers; `message` says what it said, or why nothing came."""

    address: str
    answers: bool
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """`children` are the model's own, `foreign` are objects in the way of a child's name.

    `rival` has the model's id, those of `lost` have aliases of it.
    `errors` is what the API server refused just now, by child.
    `remote` is what its address elsewhere said last.
    `stable_template` is the pod template of the last version that served, where it was asked for.
    `reports` and `hints` are by the pods' uid: what servers and events tell. `now` is Unix time.
    """

    model: Raw
    resolution: Resolution
    settings: OperatorSettings
    now: float
    children: Mapping[Ref, Raw] = field(default_factory=dict)
    foreign: frozenset[Ref] = frozenset()
    pods: tuple[PodView, ...] = ()
    reports: Mapping[str, ServerReport] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    rival: Rival | None = None
    lost: tuple[Rival, ...] = ()
    remote: RemoteReport | None = None
    cluster: Cluster | None = None
    load: Load | None = None
    stable_template: dict[str, Any] | None = None
    errors: Mapping[Ref, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.model["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.model["metadata"]["namespace"])

    @property
    def deployment(self) -> Raw | None:
        return self.children.get(Ref("Deployment", self.name))

    @property
    def status(self) -> Raw:
        """The status the resource has now."""
        found: Raw = self.model.get("status") or {}
        return found
