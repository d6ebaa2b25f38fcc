"""Names, ids and aliases that others have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed, Ref, Rival
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.resources import children
from fleet_operator.resources.profiles import ModelCache, Profile
from fleet_operator.resources.resolve import Sources
from support.operator_objects import model
from support.operator_states import again, condition_of, settled, with_cache, with_uid

Observe = Callable[..., Observed]


def test_the_younger_duplicate_loses_its_servers_but_not_its_cache(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    decision = reconcile(replace(with_cache(observed), rival=Rival("older", "org/m")))
    assert (decision.status["phase"], decision.status["reason"]) == ("Conflict", "DuplicateModel")
    assert decision.objects == ()
    assert decision.delete == (Ref("Deployment", "m"), Ref("Service", "m"))
    message = "The older InferenceModel 'older' already serves 'org/m'."
    assert decision.events == (Event("Warning", "DuplicateModel", message),)


def test_a_duplicate_of_another_namespace_keeps_its_servers(observe: Observe) -> None:
    """They get no traffic from the router, but nobody elsewhere can delete them."""
    observed = settled(observe, model(), {"ready": True})
    decision = reconcile(replace(observed, rival=Rival("older", "org/m", "elsewhere")))
    assert (decision.status["phase"], decision.status["reason"]) == ("Conflict", "DuplicateModel")
    assert (decision.objects, decision.delete) == ((), ())
    message = "The older InferenceModel 'elsewhere/older' already serves 'org/m'."
    assert decision.events == (Event("Warning", "DuplicateModel", message),)


def test_an_id_with_the_prefix_of_another_namespace_is_not_served(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    decision = reconcile(replace(observed, rival=Rival("", "org/m", "org")))
    assert (decision.status["phase"], decision.delete) == ("Conflict", ())
    message = "'org/m' has the prefix of namespace 'org'."
    assert decision.events == (Event("Warning", "DuplicateModel", message),)
    decision = reconcile(replace(observed, lost=(Rival("", "org/a", "org"),)))
    message = "'org/a' has the prefix of namespace 'org'. This model is served without these ids."
    assert condition_of(decision, "AliasesServed") == ("False", "DuplicateAlias", message)


def test_a_second_release_that_wants_the_namespace_is_reported(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    before = reconcile(observed)
    decision = reconcile(replace(again(observed, before), contender="other-fleet"))
    status, reason, message = condition_of(decision, "NamespaceContested")
    assert (status, reason) == ("True", "SeveralReleases")
    assert "'other-fleet'" in message
    assert decision.status["phase"] == before.status["phase"] == "Ready"
    after = reconcile(again(observed, decision))
    assert after.status["conditions"] == before.status["conditions"]


def test_lost_aliases_of_the_younger_duplicate_are_reported(observe: Observe) -> None:
    observed = observe(model(aliases=["a", "b"]), rival=Rival("older", "org/m"))
    assert condition_of(reconcile(observed), "Ready")[2].endswith(
        "; this one is not served, nor are its aliases (a, b)."
    )


def test_a_model_that_loses_an_alias_is_served_without_it(observe: Observe) -> None:
    observed = settled(observe, model(aliases=["a", "b"]), {"ready": True})
    decision = reconcile(replace(observed, lost=(Rival("other", "b"),)))
    assert (decision.status["phase"], decision.status["reason"]) == ("Degraded", "DuplicateAlias")
    assert decision.delete == ()
    assert condition_of(decision, "Available")[0] == "True"
    message = "'b' belongs to the InferenceModel 'other'. This model is served without these ids."
    assert condition_of(decision, "AliasesServed") == ("False", "DuplicateAlias", message)
    assert decision.events == (Event("Warning", "DuplicateAlias", message),)


def test_foreign_objects_with_unused_names_are_allowed(observe: Observe) -> None:
    foreign = frozenset({Ref("PersistentVolumeClaim", "m-cache"), Ref("PodDisruptionBudget", "m")})
    assert reconcile(observe(model(), foreign=foreign)).status["reason"] == "CreatingPods"


def test_a_child_that_another_controller_owns_is_not_deleted(observe: Observe) -> None:
    ref = Ref("PodDisruptionBudget", "m")
    observed = settled(observe, model(), {"ready": True})
    made = with_uid(children.budget(model()))
    own = replace(observed, children={**observed.children, ref: made})
    assert reconcile(own).delete == (ref,)
    rival = Rival("older", "org/m")
    servers = (Ref("Deployment", "m"), Ref("Service", "m"))
    assert reconcile(replace(own, rival=rival)).delete == (*servers[:1], ref, *servers[1:])
    for change in (
        {"ownerReferences": [{"kind": "Gateway", "uid": "other", "controller": True}]},
        {"ownerReferences": []},
        {"annotations": {}},
        {"name": "other"},
    ):
        other = {**made, "metadata": {**made["metadata"], **change}}
        changed = replace(own, children={**own.children, ref: other})
        assert reconcile(changed).delete == ()
        assert reconcile(replace(changed, rival=rival)).delete == servers


@pytest.mark.parametrize("profile", [Profile(), Profile(model_cache=ModelCache(claim="shared"))])
def test_a_cache_that_the_profile_no_longer_has_is_kept(
    observe: Observe, sources: Sources, profile: Profile
) -> None:
    observed = with_cache(settled(observe, model(), {"ready": True}))
    changed = replace(sources, profiles={"default": profile})
    without = replace(observed, resolution=observe(model(), sources=changed).resolution)
    assert reconcile(without).delete == ()
