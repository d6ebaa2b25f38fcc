"""The models that two running servers both list, and their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleet_bench.compare.errors import CannotCompare

TASKS = ("chat", "embedding", "speech")
"""Tasks that can be compared; rerank is not one."""

Entries = Sequence[Mapping[str, Any]]


def common(a: Entries, b: Entries) -> list[str]:
    """Ids or aliases that both list, in A's order. Raises CannotCompare without any."""
    known = {name for entry in b for name in names(entry)}
    found = [str(entry["id"]) for entry in a if known & set(names(entry))]
    if not found:
        raise CannotCompare(
            "The two servers list no common model.",
            "Name A's with --models, and B's with --b-model where its id differs.",
        )
    return found


def task_of(model: str, listings: Sequence[Entries], catalog: Mapping[str, str]) -> str:
    """Task of `model` from the listings, else from the catalog. Raises CannotCompare."""
    for entry in (entry for listed in listings for entry in listed):
        if model in names(entry) and entry.get("task"):
            return _compared(model, str(entry["task"]))
    if model in catalog:
        return _compared(model, catalog[model])
    raise CannotCompare(
        f"Neither server lists the task of {model}.", f"Name it with --task ({', '.join(TASKS)})."
    )


def names(entry: Mapping[str, Any]) -> list[str]:
    """Id and aliases of an entry of /v1/models."""
    return [str(entry["id"]), *map(str, entry.get("aliases") or ())]


def _compared(model: str, task: str) -> str:
    if task not in TASKS:
        raise CannotCompare(
            f"{model} has the task {task}; only {', '.join(TASKS)} can be compared.",
            "Name other models with --models.",
        )
    return task
