"""The budget of rollouts over all models: how many at a time, and which model is next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_operator.resources.views import Raw, is_accelerated

NAMED = 3
"""Models named in a message."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Models whose rollouts end, or begin, before that of this model may begin; empty if it may
    begin now. `accelerated` is for a version with accelerators, `others` for one without."""

    accelerated: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def waits_for(self, pod: Raw) -> tuple[str, ...]:
        """Those before a version with this PodSpec."""
        return self.accelerated if is_accelerated(pod) else self.others


def waiting_message(ahead: tuple[str, ...]) -> str:
    """Why a rollout has not begun."""
    more = f" and {len(ahead) - NAMED} more" if len(ahead) > NAMED else ""
    return (
        f"The rollout begins after those of {', '.join(ahead[:NAMED])}{more}; until then the "
        "present version serves."
    )
