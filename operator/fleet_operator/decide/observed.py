"""The input of one reconcile: an immutable snapshot of a model and its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fleet_contract.names import ANNOTATION_WAKE
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.scaling.neighbours import Neighbours
from fleet_operator.decide.turn import Turn
from fleet_operator.features import Features
from fleet_operator.resources.resolve import Resolution
from fleet_operator.resources.views import PodView, Raw
from fleet_operator.server_report import ServerReport
from fleet_operator.settings import OperatorSettings

NO_TURN = Turn()
"""No other rollout comes first."""


class Ref(NamedTuple):
    """A child object: kind and name, in the namespace of its model."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Rival:
    """Another InferenceModel that owns `identifier`, an id or alias of this one or of its adapters;
    without a name, the namespace whose prefix it has."""

    name: str
    identifier: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class RemoteReport:
    """Result of a probe of a remote server; `message` is its response or the error."""

    address: str
    reachable: bool
    message: str


class Tally(NamedTuple):
    """Requests of one model.

    `errors` are those with a 5xx, `rejected` those with a 4xx of a server, `abandoned` those whose
    client disconnected; `first_byte_seconds` is the sum over `first_bytes` responses,
    `held_seconds` the part of it in which requests waited for a server.
    """

    requests: int = 0
    errors: int = 0
    first_byte_seconds: float = 0.0
    first_bytes: int = 0
    abandoned: int = 0
    held_seconds: float = 0.0
    rejected: int = 0

    @property
    def error_share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def rejected_share(self) -> float:
        return self.rejected / self.requests if self.requests else 0.0

    @property
    def abandoned_share(self) -> float:
        return self.abandoned / self.requests if self.requests else 0.0

    @property
    def mean_first_byte(self) -> float:
        seconds = max(0.0, self.first_byte_seconds - self.held_seconds)
        return seconds / self.first_bytes if self.first_bytes else 0.0


class Comparison(NamedTuple):
    """The requests of a model and of the primary since `since`, as in the status.

    `complete` is False if a router could not be read.
    """

    since: str
    own: Tally
    primary: Tally
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ReplicaWrite:
    """A change of replicas by another field manager. `kind` is that of the changed object, `at` is
    Unix time."""

    kind: str
    manager: str
    at: float


@dataclass(frozen=True, slots=True)
class Observed:
    """`children` are the objects that the model controls and those that it adopts, `foreign` other
    objects with the name of a child.

    `rival` owns the model's id, those in `lost` own aliases or ids
    of adapters of it.
    `errors` are the API server's errors for children in this reconcile, `undeleted` those for
    deletions.
    `turn` has the models whose rollouts come before this one's.
    `yields_to` is a model (namespace/name) that this one should make room for, "" for none;
    `neighbours` are the models that could make room for this one, where requested. `unplaced`:
    the model that this one has yielded to still waits for a node.
    `remote` is the last probe of a remote server, `comparison` the requests since the weight in
    the traffic group last changed.
    `replica_set` is the hash of the Deployment's current ReplicaSet, "" if it does not matter.
    `access_modes` are those of the namespace's volume claims, by name.
    `contender` is another release that also tries to serve the namespace.
    `stable_template` is the pod template of the last version that became ready, where requested.
    `features` are those of the cluster.
    `replica_writes` are those of other field managers, the oldest first.
    `reports` (of servers) and `hints` (of warning events) are by pod uid. `now` is Unix time.
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
    turn: Turn = NO_TURN
    yields_to: str = ""
    neighbours: Neighbours | None = None
    unplaced: bool = False
    load: Load | None = None
    comparison: Comparison | None = None
    replica_set: str = ""
    access_modes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    stable_template: dict[str, Any] | None = None
    errors: Mapping[Ref, str] = field(default_factory=dict)
    undeleted: Mapping[Ref, str] = field(default_factory=dict)
    contender: str = ""
    features: Features = field(default_factory=Features)
    replica_writes: tuple[ReplicaWrite, ...] = ()

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
    def present(self) -> tuple[PodView, ...]:
        """The pods that have not ended, those that are being deleted included."""
        return tuple(pod for pod in self.pods if not pod.terminal)

    @property
    def wake(self) -> str | None:
        """The routers' annotation that requests a server."""
        found: str | None = (self.model["metadata"].get("annotations") or {}).get(ANNOTATION_WAKE)
        return found

    @property
    def last_ready(self) -> float:
        """When a server last became ready, of those that still are; 0 without any."""
        conditions = (pod.conditions.get("Ready") for pod in self.pods if pod.ready)
        return max((one.since or 0.0 for one in conditions if one is not None), default=0.0)

    @property
    def status(self) -> Raw:
        """The current status of the resource."""
        found: Raw = self.model.get("status") or {}
        return found
