"""The layout of the folder of all weights: model folders, staging area, locks.

    <root>/<org>--<name>-<fingerprint>/   complete weights of one spec
    <root>/<the same name>.<conversion>/  weights converted from them
    <root>/.staging/<the same name>/      being fetched or converted
    <root>/.staging/<the same name>.lock  lock of the process that does this
    <root>/.use/<the same name>           see `eviction`

The fingerprint is a hash of the sources: another revision or source gets another folder, and no
file of a running server is ever replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_contract.settings import BY_NAME
from fleet_contract.spec import ModelSpec
from fleet_weights.hub import cache

STAGING = ".staging"
DEFAULT_FOLDER = "models"


class Store:
    """Paths of weights under `root`. `limit` bounds its size: in bytes, or below 1 as the share of
    the disk that may be used. `evicts`: other models are deleted to make room."""

    def __init__(
        self,
        root: Path,
        hub_caches: tuple[Path, ...] = (),
        limit: float | None = None,
        evicts: bool = True,
    ) -> None:
        self.root = root
        self.limit = limit
        self.evicts = evicts
        self.hub_caches = (root / "hub", root, *hub_caches)
        """Caches of huggingface_hub to look for models in; they are only read."""

    @classmethod
    def of(cls, environ: Mapping[str, str], evicts: bool = True) -> Store:
        """The store and the hub caches of the environment. Raises ValueError for a bad setting."""
        limit = BY_NAME["MODELS_DIR_LIMIT"].read(environ, None)
        return cls(default_root(environ), cache.folders(environ), limit, evicts)

    def folder(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The folder of complete weights, or with `suffix` of a conversion."""
        return self.root / f"{folder_name(spec)}{suffix}"

    def staging(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The staging folder."""
        return self.root / STAGING / f"{folder_name(spec)}{suffix}"

    def lock(self, spec: ModelSpec, suffix: str = "") -> Path:
        """The lock file."""
        return self.root / STAGING / f"{folder_name(spec)}{suffix}.lock"


def default_root(environ: Mapping[str, str]) -> Path:
    """MODELS_DIR, else HF_HOME, else `models` in the working directory."""
    named = environ.get("MODELS_DIR") or environ.get("HF_HOME")
    return Path(named).expanduser() if named else Path(DEFAULT_FOLDER)


def folder_name(spec: ModelSpec) -> str:
    """`<org>--<name>-<fingerprint>`."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "-", spec.model.replace("/", "--"))
    return f"{readable}-{fingerprint(spec)}"


def fingerprint(spec: ModelSpec) -> str:
    """Ten hex digits of a hash of source, files and checksums."""
    made_from: dict[str, Any] = {
        "source": spec.source,
        "sha256": spec.sha256,
        "weights": [file.to_wire() for file in spec.weights],
    }
    if spec.bucket is not None and spec.bucket.endpoint:
        made_from["endpoint"] = spec.bucket.endpoint  # another store may have a bucket of this name
    if spec.vision and (spec.source or "").endswith(".gguf"):
        made_from["projector"] = True  # a file that the source does not name
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:10]
