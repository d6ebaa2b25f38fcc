"""Decides which InferenceModels of the release are applied and deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fleet_operator.resources import release_models
from fleet_operator.resources.release_models import Key, ReleaseModels
from fleet_operator.resources.views import Raw


class Plan(NamedTuple):
    """`apply` are manifests, `delete` observed models. `taken`: names that other models have."""

    apply: list[dict[str, Any]]
    delete: list[Raw]
    taken: list[Key]


def plan(wanted: ReleaseModels, found: Mapping[Key, Raw], owners: Mapping[str, str]) -> Plan:
    """What makes the `found` models those of the release; `owners` are uids by namespace.

    A model is applied only if it is missing or its manifest has changed, so what users and
    autoscalers write in between is kept. Models that the operator did not create are left alone.
    """
    apply, taken = [], []
    for key, manifest in wanted.manifests.items():
        owner, known = owners.get(key[0]), found.get(key)
        if known is not None and not release_models.is_marked(known):
            if not release_models.is_of_the_release(known, manifest):
                taken.append(key)
        elif owner is not None and not _is_leaving(known):
            made = release_models.marked(manifest, owner)
            applied = release_models.applied_digest
            if known is None or applied(known) != applied(made):
                apply.append(made)
    return Plan(apply, list(_unwanted(wanted, found, owners)), taken)


def _unwanted(
    wanted: ReleaseModels, found: Mapping[Key, Raw], owners: Mapping[str, str]
) -> Iterable[Raw]:
    """Models of these owners that the release has no more, also if its entry cannot be parsed."""
    for key, raw in found.items():
        references = raw["metadata"].get("ownerReferences") or ()
        owned = owners.get(key[0]) in (one.get("uid") for one in references)
        named = key in wanted.manifests or key[1] in wanted.problems
        if owned and not named and release_models.is_marked(raw) and not _is_leaving(raw):
            yield raw


def _is_leaving(raw: Raw | None) -> bool:
    return raw is not None and raw["metadata"].get("deletionTimestamp") is not None
