"""Who owns an id or alias that several InferenceModels claim.

An id takes precedence over any alias, so that no alias takes a served model away. Among equal
claims the older resource wins. A model that lost its id is not served; its aliases come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
"""What an id may begin with."""


class Claim(NamedTuple):
    """The names one InferenceModel claims; claims compare by age.

    `created` is its creationTimestamp (RFC 3339, UTC), `ids` its id followed by its aliases.
    """

    created: str
    namespace: str
    name: str
    ids: tuple[str, ...]


def read_prefixes(text: str) -> dict[str, str]:
    """Prefixes of ids by namespace, from `namespace=prefix,namespace=prefix`. Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        namespace, sign, prefix = part.partition("=")
        if not sign or not namespace or PREFIX.fullmatch(prefix) is None:
            raise ValueError("must be namespace=prefix, comma-separated, such as team-a=team-a/")
        found[namespace] = prefix
    return found


def prefixed(ids: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The ids as clients send them: each with the prefix, unless it has that already."""
    found = (each if each.startswith(prefix) else prefix + each for each in ids)
    return tuple(dict.fromkeys(found))


def owners(claims: Iterable[Claim]) -> dict[str, Claim]:
    """The owner of every id and alias in `claims`."""
    by_age = sorted(claims)
    owner: dict[str, Claim] = {}
    for claim in by_age:
        owner.setdefault(claim.ids[0], claim)
    served = [claim for claim in by_age if owner[claim.ids[0]] is claim]
    refused = [claim for claim in by_age if owner[claim.ids[0]] is not claim]
    for claim in (*served, *refused):
        for alias in claim.ids[1:]:
            owner.setdefault(alias, claim)
    return owner
