"""Bounds the folder of weights: deletes the least recently used models that no process uses.

    <root>/.use/<name>   locked, shared, by every process that uses the weights of this name; its
                         time of modification is that of the last use

A name stands for the fetched weights of a spec, their conversions and what is staged for them.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import NoRoom
from fleet_weights.store import STAGING, Store, folder_name

logger = logging.getLogger(__name__)

USE = ".use"
EVICTED = "evicted-"
_NAME = re.compile(r"(?P<name>.+?-[0-9a-f]{10})(?:-[0-9a-f]{6})?(?:\..+)?")
"""A folder's name: that of the spec, digits of a foreign source's state, suffix of a conversion."""
_held: dict[Path, int] = {}
_lock = threading.Lock()


def hold(spec: ModelSpec, store: Store) -> None:
    """Use the weights of `spec` until this process ends, so that no other deletes them.

    Does nothing in a folder without a limit, or to which this process may not write. Where the
    store evicts nothing, this is no use of the weights: what no other process has used yet is the
    first to be deleted by one that evicts.
    """
    if store.limit is None:
        return
    path = store.root / USE / folder_name(spec)
    with _lock:
        if path in _held:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
        except OSError as error:
            logger.warning("%s: the use of the weights cannot be recorded: %s", path, error)
            return
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[path] = file
        if store.evicts:
            os.utime(file)
            # The last use is the end of the process, not its start.
            atexit.register(_touch, file)
        elif is_new:
            os.utime(file, (0, 0))


def release(spec: ModelSpec, store: Store) -> None:
    """End what `hold` began; only for a store that evicts nothing."""
    with _lock:
        file = _held.pop(store.root / USE / folder_name(spec), None)
    if file is not None:
        os.close(file)


def make_room(store: Store, needed: int, spec: ModelSpec) -> None:
    """Delete unused weights, the least recently used first, until `needed` more bytes are within
    the limit. If too little can be deleted, a warning is logged.

    Raises NoRoom where the store evicts nothing and they are not within the limit.
    """
    if store.limit is None:
        return
    _clear_evicted(store)
    found = names(store)
    sizes = {name: sum(map(size, folders)) for name, folders in found.items()}
    over = _excess(store, sum(sizes.values()), needed)
    if over > 0 and not store.evicts:
        raise NoRoom(
            f"{spec.model} needs {needed / 1e9:.1f} GB more, and {store.root} would exceed its "
            f"limit by {over / 1e9:.1f} GB.",
            "Raise the limit, or delete weights that are not needed.",
        )
    for name in sorted(found, key=lambda name: last_use(store, name, found[name])):
        if over <= 0:
            return
        if name != folder_name(spec) and evict(store, name, found[name]):
            logger.info("deleted %s (%.1f GB), not used", name, sizes[name] / 1e9)
            over -= sizes[name]
    if over > 0:
        logger.warning(
            "%s exceeds its limit by %.1f GB: all other models in it are in use",
            store.root, over / 1e9,
        )  # fmt: skip


def _excess(store: Store, present: int, needed: int) -> float:
    """Bytes above the limit once `needed` are added; a limit below 1 is a share of the disk."""
    assert store.limit is not None  # noqa: S101  (checked by the only caller)
    if store.limit >= 1:
        return present + needed - store.limit
    disk = shutil.disk_usage(store.root)
    return disk.used + needed - store.limit * disk.total


def names(store: Store) -> dict[str, list[Path]]:
    """The folders of each name."""
    found: dict[str, list[Path]] = defaultdict(list)
    for parent in (store.root, store.root / STAGING):
        for path in parent.iterdir() if parent.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match is not None and path.is_dir():
                found[match["name"]].append(path)
    return found


def evict(store: Store, name: str, folders: list[Path]) -> bool:
    """Delete the folders; False if a process uses them."""
    with _unused(store, name) as free:
        if not free:
            return False
        # Renamed under the lock and deleted after it: deletion of large files takes seconds.
        (store.root / STAGING).mkdir(exist_ok=True)
        moved = [store.root / STAGING / f"{EVICTED}{uuid4().hex}" for _ in folders]
        for folder, target in zip(folders, moved, strict=True):
            with suppress(FileNotFoundError):  # a finished download has left the staging area
                folder.rename(target)
    for target in moved:
        _remove(target)
    return True


def _remove(path: Path) -> None:
    """Delete a folder with all it has, or a link to one."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _unused(store: Store, name: str) -> Iterator[bool]:
    """Keep other processes from beginning to use the name; False if one uses it."""
    path = store.root / USE / name
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def last_use(store: Store, name: str, folders: list[Path]) -> float:
    """Unix time of the last recorded use, else of the last change of the folders."""
    try:
        return (store.root / USE / name).stat().st_mtime
    except FileNotFoundError:
        return max((_changed(folder) for folder in folders), default=0.0)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def size(folder: Path) -> int:
    """Bytes of all files; other processes may delete some meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name), follow_symlinks=False).st_size
    return total


def _clear_evicted(store: Store) -> None:
    """Delete what a process that ended in an eviction has left."""
    for path in (store.root / STAGING).glob(f"{EVICTED}*"):
        _remove(path)


def _touch(file: int) -> None:
    os.utime(file)
