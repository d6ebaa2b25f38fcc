"""Resolves an InferenceModel to a complete, valid spec, with fields from catalog and profile.

Results are cached until the resource, the catalog or a profile changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract import catalog
from fleet_contract.accelerators import Layer
from fleet_contract.completion import complete
from fleet_contract.spec import ModelSpec
from fleet_operator.resources.profiles import DEFAULT, Profile

NO_PROFILE = Profile()


@dataclass(frozen=True, slots=True)
class Resolution:
    """A complete spec, or None and the `problem` with the resource.

    `origins` and `notes` are those of fleet_contract.completion.
    """

    ids: tuple[str, ...]
    spec: ModelSpec | None
    profile: Profile
    origins: Mapping[str, str]
    notes: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Catalog and profiles; `problems` are those of profiles that cannot be parsed, by name."""

    catalog: Mapping[str, ModelSpec]
    profiles: Mapping[str, Profile]
    problems: Mapping[str, str]


def resolve(wire: Mapping[str, Any], sources: Sources) -> Resolution:
    """Complete the `spec` of a resource. Never raises: problems are part of the result."""
    ids = (str(wire.get("model")), *map(str, wire.get("aliases") or ()))
    named = wire.get("profile") or _profile_of_entry(wire, sources)
    profile, problem = _profile(named, sources)
    if profile is None:
        return Resolution(ids, None, NO_PROFILE, {}, (), problem)
    below = [Layer(f"profile {named or DEFAULT}", profile.layer())]
    try:
        whole = complete(wire, sources.catalog, below)
    except ValueError as error:
        return Resolution(ids, None, profile, {}, (), str(error))
    return Resolution(whole.spec.ids, whole.spec, profile, whole.origins, whole.notes)


def _profile_of_entry(wire: Mapping[str, Any], sources: Sources) -> str | None:
    entry = catalog.find(str(wire.get("model")), sources.catalog)
    return entry.profile if entry is not None else None


def _profile(name: str | None, sources: Sources) -> tuple[Profile | None, str | None]:
    wanted = name or DEFAULT
    if wanted in sources.problems:
        return None, sources.problems[wanted]
    profile = sources.profiles.get(wanted)
    if profile is None and name is not None:
        known = ", ".join(sorted(sources.profiles)) or "none"
        return None, f"profile {name!r} does not exist; known: {known}"
    return profile or NO_PROFILE, None


class Resolver:
    """Caches one resolution for each resource; `use` replaces catalog and profiles."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._kept: dict[str, tuple[int, Resolution]] = {}

    def use(self, sources: Sources) -> bool:
        """Replace catalog and profiles; whether they differ from the previous ones."""
        if sources == self.sources:
            return False
        self.sources = sources
        self._kept.clear()
        return True

    def resolve(self, model: Mapping[str, Any]) -> Resolution:
        """The resolution of an InferenceModel."""
        uid, generation = model["metadata"]["uid"], model["metadata"].get("generation", 0)
        kept = self._kept.get(uid)
        if kept is None or kept[0] != generation:
            kept = (generation, resolve(model.get("spec") or {}, self.sources))
            self._kept[uid] = kept
        return kept[1]

    def forget(self, uid: str) -> None:
        """Drop the cached resolution of a deleted resource."""
        self._kept.pop(uid, None)
