"""What a fleet starts with: budget, weights that are on disk, and what fetches others."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet_contract.spec import ModelSpec
from fleet_local.demand import budget as memory
from fleet_local.demand.decide import at_once, room_for
from fleet_local.demand.member import Member
from fleet_local.demand.preparer import Preparer
from fleet_local.demand.supervisor import too_big
from fleet_local.errors import StartError
from fleet_prepare.errors import CannotServe
from fleet_prepare.prepare import PreparedModel
from fleet_weights.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Plan:
    """`budget` is in bytes; `served` has the specs as servers see them and `prepared` the weights
    that are on disk, by model."""

    budget: int = sys.maxsize
    served: Mapping[str, ModelSpec] = field(default_factory=dict)
    prepared: Mapping[str, PreparedModel] = field(default_factory=dict)
    preparer: Preparer | None = None


def on_disk(served: Mapping[str, ModelSpec], preparer: Preparer) -> dict[str, PreparedModel]:
    """The weights that are on disk, by model. Raises StartError for a model that this machine
    cannot serve, and for missing weights that may not be fetched."""
    found: dict[str, PreparedModel] = {}
    for name, spec in served.items():
        try:
            prepared = preparer.find(spec)
        except (CannotServe, WeightsError) as error:
            raise StartError(error.message, error.hint) from error
        if prepared is not None:
            found[name] = prepared
        elif not preparer.download:
            raise StartError(
                f"The weights of {name} are not on disk, and AUTO_DOWNLOAD_MODELS is 0.",
                f"Run `modelfleet pull {name}`.",
            )
    return found


def waits_for_requests(spec: ModelSpec, *, on_demand: bool) -> bool:
    """Whether a model starts at its first request even if the budget would allow it at once."""
    return not spec.min_replicas and (on_demand or spec.replicas == 0)


def first(members: Sequence[Member], budget: int, *, on_demand: bool) -> list[Member]:
    """The models to start with the fleet. Those that can never start are marked as failed.

    Raises StartError if these are all models or a pinned one is among them.
    """
    eager = [each for each in members if not waits_for_requests(each.spec, on_demand=on_demand)]
    decision = at_once([each.candidate() for each in eager], budget)
    for name in decision.too_big:
        member = next(each for each in eager if each.spec.model == name)
        room = room_for(member.candidate(), [each.candidate() for each in members], budget)
        member.fail(too_big(member.size, room, budget))
        if member.pinned or len(decision.too_big) == len(members):
            raise StartError(
                f"{name} {member.failure}.",
                f"Raise {memory.SETTING} or end other programs, or serve a smaller model.",
            )
    return [each for each in eager if each.spec.model in decision.start]
