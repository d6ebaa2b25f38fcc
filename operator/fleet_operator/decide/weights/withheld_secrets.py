"""The condition of a model whose servers do not get the platform's secrets for downloads. Pure."""

from __future__ import annotations

from fleet_operator.decide.conditions import ConditionState
from fleet_operator.decide.observed import Observed
from fleet_operator.resources.pod_parts.fetch_secrets import fetch_secrets
from fleet_operator.resources.volumes import downloads_image

CONDITION = "FetchSecrets"


def conditions(observed: Observed) -> list[ConditionState]:
    """The condition; empty for a model that gets all secrets which its download may need."""
    found = observed.resolution
    if found.spec is None:
        return []
    downloaded = downloads_image(found.spec, observed.features)
    message = fetch_secrets(found, observed.settings, downloaded).message
    return [ConditionState(CONDITION, "False", "SecretsWithheld", message)] if message else []
