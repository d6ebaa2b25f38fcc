"""Whether the profile of a model is the current one, and what to do if it is unknown. Pure."""

from __future__ import annotations

from fleet_operator.decide.conditions import ConditionState
from fleet_operator.decide.observed import Observed
from fleet_operator.names import ANNOTATION_PROFILE
from fleet_operator.resources.server_container import Object

CONDITION = "ProfileCurrent"


def applied_profile(observed: Observed) -> str:
    """Name of the profile that the present Deployment was made with, "" for none."""
    meta = (observed.deployment or {}).get("metadata", {})
    return str((meta.get("annotations") or {}).get(ANNOTATION_PROFILE, ""))


def is_held(observed: Observed) -> bool:
    """Whether the pods keep their template: it was made with a profile that is unknown now, so a
    new one would be without node selector, resources and cache."""
    return observed.resolution.profile_unknown and applied_profile(observed) != ""


def present_template(observed: Observed) -> Object:
    """The pod template of the present Deployment, without the nulls of the API server."""
    template = (observed.deployment or {})["spec"]["template"]
    meta = {name: value for name, value in template["metadata"].items() if value is not None}
    return {**template, "metadata": meta}


def profile_in_use(observed: Observed) -> str:
    """Name of the profile that the pods are made with, "" for none."""
    return applied_profile(observed) if is_held(observed) else observed.resolution.profile_name


def conditions(observed: Observed) -> list[ConditionState]:
    """The condition of pods that are not made with the current profile; empty otherwise."""
    found = observed.resolution
    if found.profile_flaw is None or (found.spec is not None and found.spec.remote is not None):
        return []
    if not found.profile_unknown:
        used = f"The profile {found.profile_name!r} is used as it was read last."
    elif is_held(observed):
        used = "The pods keep their present template."
    else:
        return []
    message = f"{found.profile_flaw.message.rstrip('.')}. {used}"
    return [ConditionState(CONDITION, "False", found.profile_flaw.reason, message)]
