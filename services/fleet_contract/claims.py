"""Who owns an id or alias that several InferenceModels claim.

A name belongs to the namespace with the longest prefix of it, or else to that of the oldest model
that claims it. The age is that of the resource, not of the claim: creating a younger one takes
nothing away from another team, but editing an older one may; prefixes prevent that. Among the
models of that namespace an id takes precedence over any alias, so that no alias takes a served
model away, and both over the ids of adapters; among equal claims the older resource wins. A model
that lost its id is not served; its aliases come last.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Key = tuple[str, str]
"""Namespace and name of an InferenceModel."""
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
"""What an id may begin with."""


class NameClaim(NamedTuple):
    """The names one InferenceModel claims; claims compare by age.

    `created` is its creationTimestamp (RFC 3339, UTC), `ids` its id followed by its aliases,
    `adapters` the ids of its adapters.
    """

    created: str
    namespace: str
    name: str
    ids: tuple[str, ...]
    adapters: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it claims."""
        return (*self.ids, *self.adapters)


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


def holders(name: str, prefixes: Mapping[str, str]) -> list[str]:
    """The namespaces with the longest of the prefixes of a name, in order; empty for none.

    Only their models may have the name. `prefixes` are by namespace.
    """
    found = {space: prefix for space, prefix in prefixes.items() if name.startswith(prefix)}
    longest = max(map(len, found.values()), default=0)
    return sorted(space for space, prefix in found.items() if len(prefix) == longest)


def owners(claims: Iterable[NameClaim], prefixes: Mapping[str, str]) -> dict[str, NameClaim]:
    """The owner of every id, alias and id of an adapter in `claims`.

    The owner of a name that only models of its holders could have, which have none, is a claim
    without the name of a model.
    """
    by_age = sorted(claims)
    held = {name: holders(name, prefixes) for claim in by_age for name in claim.names}
    spaces: dict[str, str] = {}
    for claim in by_age:
        for name in claim.names:
            if not held[name] or claim.namespace in held[name]:
                spaces.setdefault(name, claim.namespace)
    owner: dict[str, NameClaim] = {}

    def give(names: Iterable[str], claim: NameClaim) -> None:
        for name in names:
            if spaces.get(name) == claim.namespace:
                owner.setdefault(name, claim)

    for claim in by_age:
        give(claim.ids[:1], claim)
    served = [claim for claim in by_age if owner.get(claim.ids[0]) is claim]
    refused = [claim for claim in by_age if owner.get(claim.ids[0]) is not claim]
    for claim in (*served, *refused):
        give(claim.ids[1:], claim)
    for claim in (*served, *refused):
        give(claim.adapters, claim)
    for name in held.keys() - owner.keys():
        owner[name] = NameClaim("", held[name][0], "", (name,))
    return owner


class Claimants:
    """The claims of all models. Changes return the models whose names may change owner by them.

    `prefixes` are those of ids, by namespace.
    """

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self._prefixes = prefixes
        self._claims: dict[Key, NameClaim] = {}
        self._of_id: dict[str, set[Key]] = defaultdict(set)

    def get(self, key: Key) -> NameClaim | None:
        """What a model claims."""
        return self._claims.get(key)

    def put(self, claim: NameClaim) -> set[Key]:
        """Record what a model claims now."""
        key = claim.namespace, claim.name
        if self._claims.get(key) == claim:
            return set()
        affected = self.release(key)
        self._claims[key] = claim
        for identifier in claim.names:
            self._of_id[identifier].add(key)
        return affected | self._contenders(key)

    def release(self, key: Key) -> set[Key]:
        """Remove the claims of a model."""
        affected = self._contenders(key)
        claim = self._claims.pop(key, None)
        for identifier in claim.names if claim is not None else ():
            claimants = self._of_id[identifier]
            claimants.discard(key)
            if not claimants:
                del self._of_id[identifier]
        return affected

    def lost(self, key: Key) -> dict[str, NameClaim]:
        """The names of a model that it does not own, and the claims of their owners, which lack the
        name of a model where the names are only held for a namespace."""
        contenders = self._contenders(key)
        if len(contenders) == 1 and not self._prefixes:
            return {}
        owner = owners((self._claims[other] for other in contenders), self._prefixes)
        claim = self._claims[key]
        return {name: owner[name] for name in claim.names if owner[name] is not claim}

    def _contenders(self, key: Key) -> set[Key]:
        """All that claim a name of this model, and all that claim a name of one of those.

        The second step matters: whether one of the first has lost its own id decides whether it
        may keep an alias.
        """
        found = {key}
        for _ in range(2):
            for other in list(found):
                claim = self._claims.get(other)
                for identifier in claim.names if claim is not None else ():
                    found |= self._of_id[identifier]
        return found
