"""Decides which weights are downloaded ahead of time into the node caches of a profile. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fleet_contract.completion import MANIFEST
from fleet_contract.names import FETCH_SECRETS
from fleet_contract.spec import Engine, ModelSpec
from fleet_operator.decide.observed import Observed
from fleet_operator.names import ANNOTATION_PROFILE
from fleet_operator.resources import estimate, permissions
from fleet_operator.resources.pod_parts import image_source, node_cache
from fleet_operator.resources.pod_parts.author_control import author_control
from fleet_operator.resources.pod_parts.fetch_secrets import fetch_secrets
from fleet_operator.resources.prefetch.daemon_set import daemon_set, may_manage
from fleet_operator.resources.prefetch.model_list import model_list
from fleet_operator.resources.profiles import ModelCache
from fleet_operator.resources.resolve import Resolution, Sources
from fleet_operator.resources.server_container import Object
from fleet_operator.resources.views import Raw
from fleet_operator.resources.volumes import addresses, downloads_image, source_images

ON_DISK = ("pvc://", "file://")

Key = tuple[str, str]
"""Namespace and name of a DaemonSet."""


class Wanted(NamedTuple):
    """A DaemonSet; `left_out` is the number of models that its list has no room for."""

    object: Object
    left_out: int


def cache_of(found: Resolution) -> ModelCache | None:
    """The node cache of a resolved spec's profile, if it is filled ahead of time."""
    cache = found.profile.model_cache
    return cache if cache is not None and cache.prefetch and found.profile_name else None


def wanted(models: Iterable[Observed]) -> dict[Key, Wanted]:
    """The DaemonSets of these models."""
    groups: dict[tuple[str, str], list[Observed]] = defaultdict(list)
    for one in models:
        if is_prefetched(one):
            groups[one.namespace, one.resolution.profile_name].append(one)
    found = [_of_profile(group) for group in groups.values()]
    return {(_at(one.object)): one for one in found}


def unwanted(found: Iterable[Raw], kept: Mapping[Key, Wanted], sources: Sources) -> list[Raw]:
    """Those of the existing DaemonSets that no model wants.

    Not those of a profile that cannot be read now: its models keep their pods too.
    """
    if sources.missing:
        return []
    return [
        raw
        for raw in found
        if may_manage(raw) and _at(raw) not in kept and profile_of(raw) not in sources.problems
    ]


def profile_of(raw: Raw) -> str:
    """Name of the profile of a DaemonSet."""
    return str((raw["metadata"].get("annotations") or {}).get(ANNOTATION_PROFILE, ""))


def is_prefetched(observed: Observed) -> bool:
    """Whether the platform downloads the weights ahead of time, with its secrets and variables.

    Not for a model that has its own, which only its servers get, nor for one that is not served.
    """
    found, spec = observed.resolution, observed.resolution.spec
    if spec is None or spec.stopped or spec.handler is not None or spec.engine is Engine.REMOTE:
        return False
    if observed.rival is not None or observed.model["metadata"].get("deletionTimestamp"):
        return False
    if node_cache.on_node(spec, cache_of(found)) is None:
        return False
    if permissions.refusal(observed.model, found, observed.settings) is not None:
        return False
    return _is_downloaded(spec, observed) and not _has_own_access(spec, found)


def _is_downloaded(spec: ModelSpec, observed: Observed) -> bool:
    if any(address.startswith(ON_DISK) for address in addresses(spec)):
        return False
    from_image = (spec.source or "").startswith(image_source.SCHEME)
    return from_image == downloads_image(spec, observed.features) and (
        from_image or not source_images(spec)
    )


def _has_own_access(spec: ModelSpec, found: Resolution) -> bool:
    if author_control(spec, found.origins) is not None:
        return True
    if spec.bucket is not None and found.origins.get("s3") == MANIFEST:
        return True
    own = (path.split(".")[1] for path, layer in found.origins.items()
           if layer == MANIFEST and path.startswith("env."))  # fmt: skip
    return any(name in FETCH_SECRETS for name in own)


def _of_profile(group: Sequence[Observed]) -> Wanted:
    oldest = sorted(group, key=lambda one: (one.model["metadata"]["creationTimestamp"], one.name))
    first, listed = oldest[0], []
    secrets: dict[str, Object] = {}
    for one in oldest:
        spec, settings = one.resolution.spec, one.settings
        if spec is None:
            continue
        given = {each["name"]: each for each in fetch_secrets(
            one.resolution, settings, downloads_image(spec, one.features)).variables}  # fmt: skip
        if any(secrets.get(name, each) != each for name, each in given.items()):
            continue  # a catalog's bucket with other keys than the profile's
        secrets |= given
        listed.append((one.name, spec))
    text, left_out = model_list(listed)
    profile = first.resolution.profile
    made = daemon_set(
        first.namespace,
        first.resolution.profile_name,
        profile,
        profile.model_cache or ModelCache(),
        text,
        [secrets[name] for name in sorted(secrets)],
        max(estimate.memory(spec) for _, spec in listed),
        [one.model for one in oldest],
        first.settings,
    )
    return Wanted(made, left_out)


def _at(raw: Raw) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]
