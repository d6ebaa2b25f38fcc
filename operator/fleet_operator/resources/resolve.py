"""Resolves an InferenceModel to a complete, valid spec, with fields from catalog and profile.

Results are cached until the resource, the catalog or a profile changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fleet_contract import catalog
from fleet_contract.accelerators import SpecLayer
from fleet_contract.completion import complete
from fleet_contract.spec import ModelSpec
from fleet_contract.status import INVALID_SPEC
from fleet_operator.resources.images import Problem, with_vllm_image
from fleet_operator.resources.profiles import DEFAULT, Profile
from fleet_operator.vllm_images import VllmImages

NO_PROFILE = Profile()
NO_IMAGES = VllmImages()
PROFILE_INVALID = "ProfileInvalid"
PROFILES_MISSING = "ProfilesMissing"


@dataclass(frozen=True, slots=True)
class Resolution:
    """A complete spec, or None and the `problem` with the resource.

    `origins` and `notes` are those of fleet_contract.completion. `profile_name` is that of the
    profile that was applied, "" for none. `profile_flaw` is why the current version of the profile
    is not known; if no earlier one is known either, the spec is complete without a profile.
    `profile_secrets` are the Secrets of all profiles.
    """

    ids: tuple[str, ...]
    spec: ModelSpec | None
    profile: Profile
    origins: Mapping[str, str]
    notes: tuple[str, ...]
    problem: str | None = None
    profile_name: str = ""
    profile_flaw: Problem | None = None
    profile_secrets: frozenset[str] = frozenset()

    @property
    def profile_unknown(self) -> bool:
        """Whether neither the current nor an earlier version of the profile is known."""
        return self.profile_flaw is not None and not self.profile_name

    @property
    def obstacle(self) -> Problem | None:
        """Why there can be no new pod: the model needs a profile that is unknown. A model that
        names none needs the profile `default` only if there is one."""
        if self.profile_flaw is None or self.spec is None or not self.profile_unknown:
            return None
        if self.spec.profile is None and self.profile_flaw.reason == PROFILES_MISSING:
            return None
        return Problem(INVALID_SPEC, self.profile_flaw.message)


@dataclass(frozen=True, slots=True)
class Sources:
    """Catalog, profiles and the images of `engine: vllm`.

    `problems` are those of profiles that cannot be parsed, by name; one of these that is in
    `profiles` too is an earlier version. `missing` is why no profiles can be read, "" if they can;
    `profiles` are then those that were read last, if there are any.
    """

    catalog: Mapping[str, ModelSpec]
    profiles: Mapping[str, Profile]
    problems: Mapping[str, str]
    missing: str = ""
    vllm_images: VllmImages = NO_IMAGES


def resolve(wire: Mapping[str, Any], sources: Sources) -> Resolution:
    """Complete the `spec` of a resource. Never raises: problems are part of the result."""
    secrets = (name for profile in sources.profiles.values() for name in profile.secrets)
    return replace(_resolve(wire, sources), profile_secrets=frozenset(secrets))


def _resolve(wire: Mapping[str, Any], sources: Sources) -> Resolution:
    ids = (str(wire.get("model")), *map(str, wire.get("aliases") or ()))
    named = wire.get("profile") or _profile_of_entry(wire, sources)
    profile, flaw = _profile(named or DEFAULT, sources)
    if profile is None and flaw is None and named is not None:
        known = ", ".join(sorted(sources.profiles)) or "none"
        problem = f"profile {named!r} does not exist; known: {known}"
        return Resolution(ids, None, NO_PROFILE, {}, (), problem)
    name = "" if profile is None else named or DEFAULT
    profile = profile or NO_PROFILE
    below = [SpecLayer(f"profile {named or DEFAULT}", profile.layer())]
    try:
        whole = complete(wire, sources.catalog, below)
    except ValueError as error:
        return Resolution(ids, None, profile, {}, (), str(error), name, flaw)
    spec = with_vllm_image(whole.spec, sources.vllm_images)
    return Resolution(spec.ids, spec, profile, whole.origins, whole.notes, None, name, flaw)


def _profile_of_entry(wire: Mapping[str, Any], sources: Sources) -> str | None:
    entry = catalog.find(str(wire.get("model")), sources.catalog)
    return entry.profile if entry is not None else None


def _profile(name: str, sources: Sources) -> tuple[Profile | None, Problem | None]:
    """The profile of that name, and why its current version is not known."""
    profile = sources.profiles.get(name)
    if name in sources.problems:
        return profile, Problem(PROFILE_INVALID, sources.problems[name])
    if sources.missing:
        return profile, Problem(PROFILES_MISSING, sources.missing)
    return profile, None


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
        # The generation only changes with the spec, not with labels or the status.
        if kept is None or kept[0] != generation:
            kept = (generation, resolve(model.get("spec") or {}, self.sources))
            self._kept[uid] = kept
        return kept[1]

    def forget(self, uid: str) -> None:
        """Drop the cached resolution of a deleted resource."""
        self._kept.pop(uid, None)
