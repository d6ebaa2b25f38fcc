"""What the spans of a request are made of, recorded while it runs; nothing where traces are off.

Needs no OpenTelemetry: the code that serves requests only notes times and counts.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from fleet_web.tracing import Exemplar, Value


class Phase(NamedTuple):
    """A part of a request; times are those of `time.monotonic`."""

    name: str
    start: float
    end: float
    parts: tuple[Phase, ...] = ()


@dataclass(slots=True)
class Recording:
    """`exemplar` leads from measurements to the trace, None if that is not sampled."""

    exemplar: Exemplar | None = None
    phases: list[Phase] = field(default_factory=list)
    attributes: dict[str, Value] = field(default_factory=dict)

    def computed(self, queue_ms: float, admitted: float, end: float) -> None:
        """Add the phases of a request without tokens: `queue` and `compute`."""
        self.phases += [_queue(queue_ms, admitted), Phase("compute", admitted, end)]

    def generated(
        self, queue_ms: float, admitted: float, submitted: float, first: float | None, end: float
    ) -> None:
        """Add the phases of a generation.

        They are those of the timings in responses (`generation.timings`): `first_token`, from the
        arrival of the request, has the parts `queue`, `prepare` (template, tokens, grammar) and
        `prompt`; `decode` is the rest. Without a token they end where the request did.
        """
        queue = _queue(queue_ms, admitted)
        parts = (
            queue, Phase("prepare", admitted, submitted),
            Phase("prompt", submitted, end if first is None else first),
        )  # fmt: skip
        if first is None:
            self.phases += parts
            return
        self.phases.append(Phase("first_token", queue.start, first, parts))
        self.phases.append(Phase("decode", first, end))


_current: ContextVar[Recording | None] = ContextVar("recording", default=None)


def current() -> Recording | None:
    """That of the request of this task; None outside of requests, and where traces are off."""
    return _current.get()


def exemplar() -> Exemplar | None:
    """The exemplar of measurements in this task."""
    recording = _current.get()
    return recording.exemplar if recording is not None else None


def begin(recording: Recording) -> None:
    """Make `recording` the current one of this task and of those that it starts."""
    _current.set(recording)


def _queue(queue_ms: float, admitted: float) -> Phase:
    return Phase("queue", admitted - queue_ms / 1000, admitted)
