"""Labels and annotations that a model's Deployment and pods get from its InferenceModel.

Only those that match a configured pattern: a change rolls the servers, and tools that manage
resources change their own labels and annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from fleet_contract.names import GROUP
from fleet_operator.settings import OperatorSettings

OF_TOOLS = (
    f"{GROUP}/", "app.kubernetes.io/managed-by", "kubectl.kubernetes.io/", "helm.sh/",
    "meta.helm.sh/", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
)  # fmt: skip
"""Prefixes that no pattern matches: our own, and those by which tools recognize their objects."""


def pod_labels(meta: Mapping[str, Any], settings: OperatorSettings) -> dict[str, str]:
    """The inherited labels of a resource with this metadata."""
    return _matching(meta.get("labels"), settings.inherited_labels)


def pod_annotations(meta: Mapping[str, Any], settings: OperatorSettings) -> dict[str, str]:
    """The inherited annotations of a resource with this metadata."""
    return _matching(meta.get("annotations"), settings.inherited_annotations)


def _matching(found: Mapping[str, str] | None, patterns: Sequence[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in (found or {}).items()
        if not name.startswith(OF_TOOLS) and any(fnmatchcase(name, each) for each in patterns)
    }
