"""What lies in the folder of all weights: sizes and last uses by model, and deletion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fleet_weights import eviction
from fleet_weights.record import RECORD
from fleet_weights.store import STAGING, Store

RECORD_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """The weights of one spec: the fetched ones, their conversions, and what is staged for them.

    `model` and `source` are from their records, `used` is the Unix time of the last use. `bytes` is
    the size on disk.
    """

    name: str
    model: str
    source: str | None
    conversions: tuple[str, ...]
    bytes: int
    used: float
    complete: bool


def listed(store: Store) -> list[Stored]:
    """Every model in the store, the largest first."""
    found = [_stored(store, name, folders) for name, folders in eviction.names(store).items()]
    return sorted(found, key=lambda one: (-one.bytes, one.name))


def delete(store: Store, one: Stored) -> bool:
    """Delete the weights with their conversions; False if a process fetches or converts them, or
    has recorded their use. Of a folder that is a link, the link is deleted."""
    with ExitStack() as stack:
        for path in (store.root / STAGING).glob(f"{one.name}*.lock"):
            try:
                stack.enter_context(FileLock(path).acquire(timeout=0))
            except Timeout:
                return False
        return eviction.evict(store, one.name, eviction.names(store).get(one.name, []))


def _stored(store: Store, name: str, folders: Sequence[Path]) -> Stored:
    whole = [folder for folder in folders if folder.parent.name != STAGING]
    records = [_record(folder) for folder in whole]
    model = next((each["model"] for each in records if each.get("model")), None)
    source = next((each["source"] for each in records if each.get("source")), None)
    readable = name.rpartition("-")[0].replace("--", "/", 1)
    conversions = tuple(
        sorted(folder.name.removeprefix(name) for folder in whole if folder.name != name)
    )
    return Stored(
        name, str(model or readable), str(source) if source else None, conversions,
        sum(map(eviction.size, folders)), eviction.last_use(store, name, list(folders)),
        complete=bool(whole),
    )  # fmt: skip


def _record(folder: Path) -> dict[str, object]:
    path = folder / RECORD
    try:
        if path.stat().st_size > RECORD_BYTES:
            return {}
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
