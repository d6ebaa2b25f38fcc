"""Who owns an id or alias that several InferenceModels claim.

An id takes precedence over any alias, so that no alias takes a served model away. Among equal
claims the older resource wins. A model that lost its id is not served; its aliases come last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Claim(NamedTuple):
    """The names one InferenceModel claims; claims compare by age.

    `created` is its creationTimestamp (RFC 3339, UTC), `ids` its id followed by its aliases.
    """

    created: str
    namespace: str
    name: str
    ids: tuple[str, ...]


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
