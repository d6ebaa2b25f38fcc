"""Finds complete models in caches of huggingface_hub, so that they are not downloaded again.

Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache; the folder `models` of Simple
Inference Server has it too. The caches are only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights import gguf_names
from fleet_weights.address import Hub, parse
from fleet_weights.hub.snapshot import is_complete


def folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The cache folder of huggingface_hub: HF_HUB_CACHE, else `hub` in HF_HOME, else the default in
    the cache folder of the user."""
    named = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return (Path(named).expanduser(),)
    if home := environ.get("HF_HOME"):
        return (Path(home).expanduser() / "hub",)
    if cache := environ.get("XDG_CACHE_HOME"):
        return (Path(cache).expanduser() / "huggingface" / "hub",)
    user = environ.get("HOME")
    return (Path(user) / ".cache" / "huggingface" / "hub",) if user else ()


def find(spec: ModelSpec, caches: tuple[Path, ...]) -> Path | None:
    """The first complete snapshot of the spec's repository and revision, or the part of it that
    `source` names."""
    if spec.source is None or spec.weights or spec.sha256 is not None:
        return None
    address = parse(spec.source)
    if not isinstance(address, Hub):
        return None
    for cache in caches:
        try:
            found = _in(cache, address, spec.vision)
        except OSError:  # a folder of another user
            continue
        if found is not None:
            return found
    return None


def is_inside(path: Path) -> bool:
    """Whether a path is in a snapshot of such a cache."""
    return any(
        parent.name == "snapshots" and parent.parent.name.startswith("models--")
        for parent in path.absolute().parents
    )


def _in(cache: Path, address: Hub, vision: bool) -> Path | None:
    repository = cache / f"models--{address.repo.replace('/', '--')}"
    reference = repository / "refs" / address.revision
    commit = reference.read_text().strip() if reference.is_file() else address.revision
    if "/" in commit or commit in ("", ".", ".."):
        return None
    snapshot = repository / "snapshots" / commit
    wanted = snapshot / address.path if address.path else snapshot
    if wanted.is_file():
        if wanted.suffix != ".gguf":
            return None
        there = all((snapshot / name).is_file() for name in gguf_names.parts(address.path))
        if vision and gguf_names.projector([path.name for path in wanted.parent.iterdir()]) is None:
            return None
        return wanted if there else None
    return wanted if is_complete(wanted) else None
