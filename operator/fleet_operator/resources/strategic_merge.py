"""Strategic merge patch of a pod template: the `podTemplate` of a spec.

Source: github.com/kubernetes/community, contributors/devel/sig-api-machinery/
strategic-merge-patch.md, with the merge keys of core/v1's PodSpec. Maps are merged, null deletes a
key, lists of objects with a merge key are merged by it, other lists are replaced; `$patch: delete`
removes an item and `$patch: replace` replaces the whole value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
DIRECTIVE = "$patch"


class PatchError(ValueError):
    """A patch that cannot be applied; the message names the field."""


def merge(base: Any, patch: Any, at: str = "podTemplate") -> Any:
    """`base` with `patch` merged over it; neither is changed. Raises PatchError."""
    if not isinstance(patch, Mapping):
        return patch
    directive = patch.get(DIRECTIVE)
    if directive not in (None, "replace", "delete", "merge"):
        raise PatchError(f"{at}: {DIRECTIVE}: unknown directive {directive!r}")
    if directive == "replace" or not isinstance(base, Mapping):
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    merged = dict(base)
    for key, value in patch.items():
        if key.startswith("$"):
            if key != DIRECTIVE:
                raise PatchError(f"{at}: unknown directive {key}")
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, list) and key in MERGE_KEYS:
            merged[key] = _merge_list(merged.get(key), value, MERGE_KEYS[key], f"{at}.{key}")
        else:
            merged[key] = merge(merged.get(key), value, f"{at}.{key}")
    return merged


def _merge_list(base: Any, patch: list[Any], key: str, at: str) -> list[Any]:
    merged = list(base) if isinstance(base, list) else []
    if any(isinstance(item, Mapping) and item == {DIRECTIVE: "replace"} for item in patch):
        return [item for item in patch if item != {DIRECTIVE: "replace"}]
    for item in patch:
        if not isinstance(item, Mapping) or key not in item:
            raise PatchError(f"{at}: an item lacks its merge key {key!r}")
        place = next((i for i, old in enumerate(merged) if old.get(key) == item[key]), None)
        if item.get(DIRECTIVE) == "delete":
            if place is not None:
                del merged[place]
        elif place is None:
            # Merged as well, so that its directives are checked and removed.
            merged.append(merge({}, item, f"{at}[{item[key]}]"))
        else:
            merged[place] = merge(merged[place], item, f"{at}[{item[key]}]")
    return merged
