"""The one folder weights are kept in: names of folders, the staging area, the lock.

    <root>/<org>--<name>-<fingerprint>/   complete weights of one spec
    <root>/<the same name>.<conversion>/  what was converted from them
    <root>/.staging/<the same name>/      what is being fetched or converted
    <root>/.staging/<the same name>.lock  held by the process that does

The fingerprint covers where weights come from, so another revision or source is another folder and
nothing is ever replaced under a running server.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights.hub import cache

STAGING = ".staging"
DEFAULT_FOLDER = "models"


class Store:
    """Where weights lie under `root`; touches no file by itself."""

    def __init__(self, root: Path, hub_caches: tuple[Path, ...] = ()) -> None:
        self.root = root
        self.hub_caches = (root / "hub", root, *hub_caches)
        """Folders that may hold models in the layout of the hub's own library; only read."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Store:
        """The store that the environment names, and the caches it may read besides."""
        return cls(default_root(environ), cache.folders(environ))

    def folder(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The folder of the complete weights, there or not; `suffix` names a conversion of them."""
        return self.root / f"{folder_name(spec)}{suffix}"

    def staging(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The folder they are put together in."""
        return self.root / STAGING / f"{folder_name(spec)}{suffix}"

    def lock(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The lock file of the process that does."""
        return self.root / STAGING / f"{folder_name(spec)}{suffix}.lock"


def default_root(environ: Mapping[str, str]) -> Path:
    """MODELS_DIR, else HF_HOME, else `models` in the working directory."""
    named = environ.get("MODELS_DIR") or environ.get("HF_HOME")
    return Path(named).expanduser() if named else Path(DEFAULT_FOLDER)


def folder_name(spec: ModelSpec) -> str:
    """`<org>--<name>-<10 hex digits of what the weights are made from>`."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "-", spec.model.replace("/", "--"))
    return f"{readable}-{fingerprint(spec)}"


def fingerprint(spec: ModelSpec) -> str:
    """Ten hex digits that differ when the source, a file or a checksum does."""
    made_from = {
        "source": spec.source,
        "sha256": spec.sha256,
        "weights": [file.to_wire() for file in spec.weights],
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:10]
