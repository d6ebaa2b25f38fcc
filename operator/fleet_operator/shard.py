"""The share of the namespaces that one of several operators of a release serves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index`, from 0, of `total`; 0/1 is everything."""

    index: int = 0
    total: int = 1

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
        """Whether this shard serves a namespace: by the hash of its name, the same everywhere."""
        if self.total == 1:
            return True
        digest = hashlib.sha256(namespace.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.total == self.index

    @property
    def suffix(self) -> str:
        """For names: `` or `-0-of-2`."""
        return "" if self.total == 1 else f"-{self.index}-of-{self.total}"
