"""The share of the namespaces that one of several operators of a release serves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet_operator.names import LABEL_SHARD

SUFFIX = re.compile(r"(-\d+-of-\d+)?")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index`, from 0, of `total`; 0/1 is everything.

    `placed` maps namespaces whose label chooses a shard to its index.
    """

    index: int = 0
    total: int = 1
    placed: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `INDEX/TOTAL`, such as `0/2`; "" is everything. Raises ValueError."""
        if not text:
            return cls()
        index, slash, total = text.partition("/")
        if slash and index.isdecimal() and total.isdecimal() and int(index) < int(total) <= 1000:
            return cls(int(index), int(total))
        raise ValueError(f"SHARD={text!r}: must be INDEX/TOTAL with INDEX from 0, such as 0/2")

    def owns(self, namespace: str) -> bool:
        """Whether this shard serves a namespace: by its label, or by the hash of its name, which
        is the same everywhere."""
        if self.total == 1:
            return True
        placed = self.placed.get(namespace)
        if placed is not None:
            return placed == self.index
        digest = hashlib.sha256(namespace.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.total == self.index

    @property
    def suffix(self) -> str:
        """For names: `` or `-0-of-2`."""
        return "" if self.total == 1 else f"-{self.index}-of-{self.total}"


def suffix_of(name: str, base: str) -> str | None:
    """The suffix that a shard of a release added to `base`, of any index and total; None if `name`
    is of something else."""
    rest = name.removeprefix(base)
    return rest if name.startswith(base) and SUFFIX.fullmatch(rest) else None


def placements(
    namespaces: Iterable[Mapping[str, Any]], total: int
) -> tuple[dict[str, int], dict[str, str]]:
    """The shard of every namespace whose label chooses one, and the labels that name no shard of
    `total`, by the names of the namespaces. Items are metadata of Namespaces."""
    placed: dict[str, int] = {}
    invalid: dict[str, str] = {}
    for meta in namespaces:
        value = str((meta.get("labels") or {}).get(LABEL_SHARD, ""))
        # No leading zeros or digits of other scripts: each shard has one name.
        if re.fullmatch(r"0|[1-9][0-9]{0,3}", value) and int(value) < total:
            placed[meta["name"]] = int(value)
        elif LABEL_SHARD in (meta.get("labels") or {}):
            invalid[meta["name"]] = value
    return placed, invalid
