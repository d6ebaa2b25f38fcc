"""Which models of a fleet start and stop within a budget of memory. Pure.

A model stops when it was idle for its `scaleToZeroAfter`, or when a model that a request waits for
does not fit otherwise: of the models without requests in flight that were idle for their
`yieldsAfter`, lower priorities stop first and, among equals, the one that was idle for longest.
Pinned models stop only after their own idle time. A model that has started only just stays for a
while: two models that do not fit together would otherwise be loaded in turns for every request of a
caller that uses both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

PATIENCE_SECONDS = 10.0
"""A model that has waited for memory this long is not overtaken by others any more."""
RESERVED_SECONDS = 60.0
"""For how long; then others may start for as long again, and so on. A model that is never idle
would otherwise keep all others from starting once a single request waits for its memory."""


class State(StrEnum):
    """What the servers of a model do."""

    SCALED_TO_ZERO = "scaled_to_zero"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The inputs of the decision about a model.

    `size` is the memory in bytes that it takes, or would take. `idle_seconds` is the time since its
    last request or since it is ready, `idle_limit` is `scaleToZeroAfter`, `yields_after` is
    `yieldsAfter`, `waits` is how long requests have waited for it, None if none do; `kept_seconds`
    is how long it does not yield to models of its own priority yet; all in seconds.
    """

    name: str
    state: State
    size: int
    priority: int = 0
    pinned: bool = False
    in_flight: int = 0
    idle_seconds: float = 0.0
    idle_limit: float | None = None
    waits: float | None = None
    yields_after: float = 0.0
    kept_seconds: float = 0.0

    @property
    def takes_memory(self) -> bool:
        """Also while it stops: until its processes have ended."""
        return self.state is not State.SCALED_TO_ZERO


@dataclass(frozen=True, slots=True)
class Decision:
    """Names of models: to start, to stop, that wait for memory of others, and that can never start
    within the budget."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    too_big: tuple[str, ...] = ()


def decide(models: Sequence[Candidate], budget: int) -> Decision:
    """What to start and stop now; `budget` is in bytes."""
    return _Round(models, budget).run()


def at_once(models: Iterable[Candidate], budget: int) -> Decision:
    """Which sleeping models start together with the fleet: the pinned ones, then those that still
    fit, by priority and in their order."""
    listed = list(models)
    first = [each for each in listed if each.pinned]
    rest = sorted((each for each in listed if not each.pinned), key=lambda one: -one.priority)
    start, waiting, too_big = [], [], []
    free, most = budget, budget - sum(each.size for each in first)
    for each in (*first, *rest):
        if each.size <= free:
            free -= each.size
            start.append(each.name)
        elif each.size > (free if each.pinned else most):
            too_big.append(each.name)
        else:
            waiting.append(each.name)
    return Decision(tuple(start), (), tuple(waiting), tuple(too_big))


def room_for(model: Candidate, models: Iterable[Candidate], budget: int) -> int:
    """The most memory that `model` can ever get: all but that of other pinned models."""
    return budget - sum(each.size for each in models if each.pinned and each.name != model.name)


def seconds_to_room(model: Candidate, models: Iterable[Candidate], budget: int) -> float | None:
    """How long `model` waits until idle models have yielded their memory; None if they have too
    little, so that it waits for busy ones."""
    others = [each for each in models if each.name != model.name]
    free = budget - sum(each.size for each in others if each.takes_memory)
    free += sum(each.size for each in others if each.state is State.STOPPING)
    if free >= model.size:
        return 0.0
    yielding = [each for each in others if _may_yield(each, model.priority)]
    for each in sorted(yielding, key=lambda one: _seconds_until_yield(one, model.priority)):
        free += each.size
        if free >= model.size:
            return _seconds_until_yield(each, model.priority)
    return None


class _Round:
    """One decision. `free` is memory to start with now, `pool` what it will be once the models that
    stop have ended; both less what earlier models have been promised."""

    def __init__(self, models: Sequence[Candidate], budget: int) -> None:
        self._models = models
        self._budget = budget
        self._stop: dict[str, Candidate] = {}
        self._free = budget - sum(each.size for each in models if each.takes_memory)
        self._pool = self._free + sum(each.size for each in models if each.state is State.STOPPING)

    def run(self) -> Decision:
        for each in self._models:
            limit = each.idle_limit
            if _is_idle(each) and limit is not None and each.idle_seconds >= limit:
                self._stop_model(each)
        self._shrink()
        start, waiting, too_big = [], [], []
        for each in self._wanted():
            if each.size > room_for(each, self._models, self._budget):
                too_big.append(each.name)
            elif each.size <= self._free:
                start.append(each.name)
                self._promise(each.size)
            else:
                waiting.append(each.name)
                self._make_room(each)
        return Decision(tuple(start), tuple(self._stop), tuple(waiting), tuple(too_big))

    def _wanted(self) -> list[Candidate]:
        stopped = [
            each
            for each in self._models
            if each.state is State.SCALED_TO_ZERO and each.waits is not None
        ]
        return sorted(stopped, key=lambda one: (-one.priority, -(one.waits or 0.0)))

    def _stop_model(self, model: Candidate) -> None:
        self._stop[model.name] = model
        self._pool += model.size

    def _promise(self, size: int) -> None:
        self._pool -= size
        self._free = min(self._free - size, self._pool)

    def _shrink(self) -> None:
        """Stop idle models while more memory is taken than there is, but not the last model."""
        running = sum(each.takes_memory for each in self._models) - len(self._stop)
        for victim in self._victims(None):
            if self._pool >= 0 or running < 2:
                return
            self._stop_model(victim)
            running -= 1

    def _make_room(self, model: Candidate) -> None:
        """Promise memory to a model that does not fit yet, and stop others if it is too little."""
        chosen: list[Candidate] = []
        for victim in self._victims(model.priority):
            if self._pool + _sum(chosen) >= model.size:
                break
            chosen.append(victim)
        if self._pool + _sum(chosen) < model.size:
            # Others are busy. Whoever waits behind it may start meanwhile, but not for ever.
            over = (model.waits or 0.0) - PATIENCE_SECONDS
            if over >= 0 and over % (2 * RESERVED_SECONDS) < RESERVED_SECONDS:
                self._free = self._pool = min(self._pool, 0)
            return
        for victim in reversed(chosen):
            if self._pool + _sum(chosen) - victim.size >= model.size:
                chosen.remove(victim)  # those chosen after it free enough
        for victim in chosen:
            self._stop_model(victim)
        self._pool -= model.size
        self._free = min(self._free, self._pool)

    def _victims(self, priority: int | None) -> list[Candidate]:
        """Models that may stop for one of `priority` (None: for any), the first to stop first."""
        found = [
            each
            for each in self._models
            if each.name not in self._stop
            and _may_yield(each, priority)
            and not _seconds_until_yield(each, priority)
        ]
        return sorted(found, key=lambda one: (one.priority, -one.idle_seconds))


def _is_idle(model: Candidate) -> bool:
    return model.state is State.READY and not model.in_flight and model.waits is None


def _may_yield(model: Candidate, priority: int | None) -> bool:
    """Whether its memory is for models of `priority` (None: of any), once it stays no longer."""
    may = priority is None or model.priority <= priority
    return may and _is_idle(model) and not model.pinned


def _seconds_until_yield(model: Candidate, priority: int | None) -> float:
    """Seconds until an idle model yields to models of `priority`: until it was idle for its
    `yieldsAfter`, and to equals until it has served for a while."""
    if priority is None:
        return 0.0
    resident = model.kept_seconds if model.priority == priority else 0.0
    return max(0.0, model.yields_after - model.idle_seconds, resident)


def _sum(models: Iterable[Candidate]) -> int:
    return sum(each.size for each in models)
