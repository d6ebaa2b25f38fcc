"""`oci://` sources: weights in an image, `oci://registry/repository:tag[@digest][/path]`.

Source: the grammar of references, github.com/distribution/reference.
"""

from __future__ import annotations

import re

from fleet_contract.names import IMAGE_MOUNT

SCHEME = "oci://"
_ADDRESS = re.compile(
    r"oci://(?P<reference>[a-z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64}))"
    r"(?:/(?P<path>.*))?"
)


def reference(address: str) -> str | None:
    """The image of an `oci://` address; None if it has no tag or digest, or is not valid."""
    found = _ADDRESS.fullmatch(address)
    return found["reference"] if found is not None else None


def path(address: str) -> str:
    """The path in the pod of a valid `oci://` address."""
    found = _ADDRESS.fullmatch(address)
    inner = (found["path"] or "") if found is not None else ""
    return f"{IMAGE_MOUNT}/{inner}".rstrip("/")
