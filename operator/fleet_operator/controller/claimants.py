"""Which InferenceModels claim which ids and aliases, in all namespaces that the router serves."""

from __future__ import annotations

from collections import defaultdict

from fleet_contract.claims import Claim, owners
from fleet_operator.decide.observed import Rival

Key = tuple[str, str]
"""Namespace and name of an InferenceModel."""


class Claimants:
    """The claims of all models. Changes return the models whose names may change owner by them."""

    def __init__(self) -> None:
        self._claims: dict[Key, Claim] = {}
        self._of_id: dict[str, set[Key]] = defaultdict(set)

    def put(self, claim: Claim) -> set[Key]:
        """Record what a model claims now."""
        key = claim.namespace, claim.name
        if self._claims.get(key) == claim:
            return set()
        affected = self.release(key)
        self._claims[key] = claim
        for identifier in claim.ids:
            self._of_id[identifier].add(key)
        return affected | self._contenders(key)

    def release(self, key: Key) -> set[Key]:
        """Remove the claims of a model."""
        affected = self._contenders(key)
        claim = self._claims.pop(key, None)
        for identifier in claim.ids if claim is not None else ():
            claimants = self._of_id[identifier]
            claimants.discard(key)
            if not claimants:
                del self._of_id[identifier]
        return affected

    def rival(self, key: Key) -> Rival | None:
        """The owner of the model's id, if that is another model."""
        return self._rivals(key).get(self._claims[key].ids[0])

    def lost(self, key: Key) -> tuple[Rival, ...]:
        """The owners of the model's aliases that other models own."""
        rivals = self._rivals(key)
        return tuple(rivals[alias] for alias in self._claims[key].ids[1:] if alias in rivals)

    def _contenders(self, key: Key) -> set[Key]:
        """All that claim a name of this model, and all that claim a name of one of those.

        The second step matters: whether one of the first has lost its own id decides whether it
        may keep an alias.
        """
        found = {key}
        for _ in range(2):
            for other in list(found):
                claim = self._claims.get(other)
                for identifier in claim.ids if claim is not None else ():
                    found |= self._of_id[identifier]
        return found

    def _rivals(self, key: Key) -> dict[str, Rival]:
        """The owners of the model's id and aliases that another model owns."""
        contenders = self._contenders(key)
        if len(contenders) == 1:
            return {}
        owner = owners(self._claims[other] for other in contenders)
        claim = self._claims[key]
        return {
            identifier: Rival(owner[identifier].name, identifier, owner[identifier].namespace)
            for identifier in claim.ids
            if owner[identifier] is not claim
        }
