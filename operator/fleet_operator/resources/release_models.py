"""The InferenceModels of the release: manifests in one ConfigMap, `name: YAML`, from the chart.

helm and kubectl cannot create a definition and objects of its kind at once, so the operator applies
them. Their owner is a Role in their namespace, an object of the release: they are deleted with it,
also without an operator.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from fleet_contract import yaml_text
from fleet_contract.names import API_VERSION, KIND
from fleet_operator.kinds import ROLE
from fleet_operator.names import ANNOTATION_APPLIED, ANNOTATION_RELEASE_MODEL
from fleet_operator.resources.digests import digest
from fleet_operator.resources.views import Raw

OWNER = "modelfleet-models"
"""Name of the Role that owns the models and gives the operator the right to write them."""
RELEASE_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
"""Labels of all objects of a release, the same in all its versions."""

Key = tuple[str, str]
"""Namespace and name."""


class ReleaseModels(NamedTuple):
    """Manifests by namespace and name; `problems` by the key of an entry that is none."""

    manifests: dict[Key, Raw]
    problems: dict[str, str]


def parse(data: Mapping[str, str]) -> ReleaseModels:
    """The manifests of the ConfigMap."""
    manifests: dict[Key, Raw] = {}
    problems: dict[str, str] = {}
    for name, text in data.items():
        try:
            found = yaml_text.load(text)
            if (found["apiVersion"], found["kind"]) != (API_VERSION, KIND):
                raise ValueError(f"not a {KIND} of {API_VERSION}")
            if found["metadata"]["name"] != name:
                raise ValueError("its name is not that of the entry")
            manifests[found["metadata"]["namespace"], name] = found
        except (yaml.YAMLError, RecursionError, ValueError, KeyError, TypeError) as error:
            problems[name] = f"not a manifest: {' '.join(str(error).split())}"
    return ReleaseModels(manifests, problems)


def marked(manifest: Raw, owner: str) -> dict[str, Any]:
    """The manifest with mark, digest, and the Role with the uid `owner` as owner."""
    made: dict[str, Any] = copy.deepcopy(dict(manifest))
    meta = made["metadata"]
    # Without blockOwnerDeletion, which needs rights on the owner where they are enforced.
    meta["ownerReferences"] = [ROLE.owner_reference(OWNER, owner)]
    meta["annotations"] = {
        **(meta.get("annotations") or {}),
        ANNOTATION_RELEASE_MODEL: meta["name"],
    }
    meta["annotations"][ANNOTATION_APPLIED] = digest(made)
    return made


def is_marked(raw: Raw) -> bool:
    """Whether the operator created the InferenceModel for a release; a copy of one has the mark of
    another name."""
    meta = raw["metadata"]
    return bool((meta.get("annotations") or {}).get(ANNOTATION_RELEASE_MODEL) == meta["name"])


def is_of_the_release(raw: Raw, manifest: Raw) -> bool:
    """Whether the tool that installs the release created an InferenceModel, such as helm with an
    earlier chart, or Argo CD."""
    found, wanted = ((one["metadata"].get("labels") or {}) for one in (raw, manifest))
    return all(wanted.get(name) and found.get(name) == wanted[name] for name in RELEASE_LABELS)


def applied_digest(raw: Raw) -> str:
    """Digest of the manifest that was applied last, "" if none was."""
    return str((raw["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED, ""))
