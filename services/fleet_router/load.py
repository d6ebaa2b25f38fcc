"""Requests in flight and time of the last request of each model, for the load report."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fleet_contract.api.load_report import REPORTED_SECONDS, ReportedLoad


@dataclass(slots=True)
class _State:
    in_flight: int = 0
    last: float = 0.0


class LoadTracker:
    """`clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: OrderedDict[str, _State] = OrderedDict()
        """By last request, the oldest first."""

    def started(self, model: str) -> None:
        """A request for `model` begins."""
        self._touch(model).in_flight += 1

    def ended(self, model: str) -> None:
        """A request for `model` has ended."""
        self._touch(model).in_flight -= 1

    def loads(self) -> dict[str, ReportedLoad]:
        """The load of each model with a request in the last `REPORTED_SECONDS`."""
        now = self._clock()
        old = []
        for model, state in self._states.items():
            if now - state.last <= REPORTED_SECONDS:
                break
            if not state.in_flight:
                old.append(model)
        for model in old:
            del self._states[model]
        return {
            model: ReportedLoad(state.in_flight, 0.0 if state.in_flight else now - state.last)
            for model, state in self._states.items()
        }

    def _touch(self, model: str) -> _State:
        state = self._states.get(model)
        if state is None:
            state = self._states[model] = _State()
        else:
            self._states.move_to_end(model)
        state.last = self._clock()
        return state
