"""Secrets that the `env`, `envFrom` and `s3` of an InferenceModel may refer to.

Where the platform restricts pod templates, the Secrets of a release (API keys, keys of remote
servers) are not for models in its namespace, and those that the platform passes to pods itself (the
hub token, pull secrets) are for no model to read.
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
                    " release may refer to none; move the model to a namespace of its own"
                )
            if name in reserved:
                return f"{field}: the Secret {name!r} is the platform's; use one of your own"
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
