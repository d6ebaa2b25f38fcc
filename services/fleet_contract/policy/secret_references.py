"""Secrets that the `env`, `envFrom` and `s3` of an InferenceModel may refer to.

Where the platform restricts pod templates, models in the namespace of a release may not refer to
Secrets, since API keys and keys of remote servers are there. No model may refer to those that the
platform passes to pods itself (the hub token, pull secrets).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

REFERENCES = ("secretKeyRef", "secretRef")
FIELDS = ("env", "envFrom", "s3")


def refusal(spec: Mapping[str, Any], in_release: bool, reserved: Collection[str]) -> str | None:
    """Why the `spec` of an InferenceModel may not refer to a Secret; None if it may.

    `in_release`: it is in the namespace of the release. `reserved` are names of Secrets that are
    the platform's in every namespace.
    """
    for field in FIELDS:
        for name in _names(spec.get(field)):
            if in_release:
                return (
                    f"{field}: refers to the Secret {name!r}, but models in the namespace of the"
                    " release may not refer to Secrets; move the model to another namespace"
                )
            if name in reserved:
                return f"{field}: the Secret {name!r} belongs to the platform; use another Secret"
    return None


def _names(value: Any) -> Iterator[str]:
    """Names of the Secrets in references anywhere in `value`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in REFERENCES and isinstance(inner, Mapping):
                yield str(inner.get("name", ""))
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
