"""Traffic groups of a ModelSpec."""

from __future__ import annotations

from pydantic import Field

from fleet_contract.blocks.model_id import ModelId
from fleet_contract.spec_base import SpecPart


class TrafficRise(SpecPart):
    """A weight that rises by itself while the model does no worse than the primary of its group.

    It is set to 0 when a server fails, such as at a golden check, or when errors (5xx) or
    rejected requests (4xx) are more frequent or the first byte of responses comes later than at the
    primary.
    """

    step: int = Field(default=10, ge=1, le=100)
    """Percent by which the weight rises."""
    interval_seconds: int = Field(default=300, ge=1)
    """Minimum number of seconds at one weight."""
    min_requests: int = Field(default=50, ge=1)
    """Minimum number of requests of this model at one weight before it is compared and rises."""


class Traffic(SpecPart):
    """A share of the requests of a group of models, such as a canary's.

    A group is served under an id or alias of one of its members, the primary. All members name the
    group and are in one namespace.
    """

    group: ModelId
    """Id that clients send; an id or alias of the primary."""
    weight: int = Field(default=0, ge=0, le=100)
    """Percent of the group's requests for this model; the primary gets the rest."""
    rise: TrafficRise | None = None
    """Raises the weight by itself, beginning with `weight`."""
