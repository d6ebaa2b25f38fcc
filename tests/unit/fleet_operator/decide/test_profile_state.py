"""Models whose profile cannot be read now: what they keep, and what the status shows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.decide.decision import Decision
from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.names import ANNOTATION_PROFILE
from fleet_operator.resources import profiles
from fleet_operator.resources.resolve import Sources
from support.operator_objects import model

Observe = Callable[..., Observed]
L4 = "nodeSelector: {gpu: l4}\nmodelCache: {size: 1Gi}\n"
MISSING = "The ConfigMap 'p' in namespace 'system' does not exist."


@pytest.fixture
def known(sources: Sources) -> Sources:
    read, problems = profiles.parse({"default": L4, "other": "nodeSelector: {gpu: h100}"})
    assert problems == {}
    return replace(sources, profiles=read)


def existing(decision: Decision) -> dict[Ref, dict[str, Any]]:
    """The children of a decision, as the API server returns them."""
    found = {}
    for child in copy.deepcopy(decision.objects):
        meta = {**child["metadata"], "uid": f"uid-{child['kind']}", "resourceVersion": "1"}
        found[Ref(child["kind"], meta["name"])] = {**child, "metadata": meta}
    deployment = found[Ref("Deployment", "m")]
    template = deployment["spec"]["template"]
    template["metadata"]["creationTimestamp"] = None
    return found


def profile_condition(decision: Decision) -> dict[str, Any] | None:
    found = [one for one in decision.status["conditions"] if one["type"] == "ProfileCurrent"]
    return found[0] if found else None


def test_a_deployment_has_the_name_of_its_profile(observe: Observe, known: Sources) -> None:
    (_, deployment, _) = reconcile(observe(model(), sources=known)).objects
    assert deployment["metadata"]["annotations"][ANNOTATION_PROFILE] == "default"
    deployment = reconcile(observe(model(profile="other"), sources=known)).objects[0]
    assert deployment["metadata"]["annotations"][ANNOTATION_PROFILE] == "other"
    deployment = reconcile(observe(model())).objects[0]
    assert ANNOTATION_PROFILE not in deployment["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"missing": MISSING}, "ProfilesMissing", MISSING.rstrip(".")),
        ({"problems": {"default": "profile 'default': x"}}, "ProfileInvalid",
         "profile 'default': x"),
    ],
)  # fmt: skip
def test_the_version_that_was_read_last_stays_in_use(
    observe: Observe, known: Sources, change: dict[str, Any], reason: str, message: str
) -> None:
    before = reconcile(observe(model(), sources=known))
    assert profile_condition(before) is None
    broken = replace(known, **change)
    observed = observe(model(), sources=broken, children=existing(before))
    after = reconcile(observed)
    assert after.objects == before.objects
    assert after.delete == ()
    found = profile_condition(after) or {}
    assert (found["status"], found["reason"], found["message"]) == (
        "False", reason, f"{message}. The profile 'default' is used as it was read last.",
    )  # fmt: skip
    assert after.events == (Event("Warning", reason, found["message"]),)
    assert (after.status["phase"], after.status["reason"]) == ("Pending", "CreatingPods")
    written = {**model(), "status": after.status}
    assert reconcile(replace(observed, model=written)).events == ()


@pytest.mark.parametrize("spec", [{}, {"profile": "other"}])
@pytest.mark.parametrize(
    "change",
    [
        {"missing": MISSING},
        {"problems": {"default": "profile 'default': x", "other": "profile 'other': x"}},
    ],
)
def test_after_a_restart_pods_keep_the_template_of_an_unknown_profile(
    observe: Observe, sources: Sources, known: Sources, spec: dict[str, Any], change: dict[str, Any]
) -> None:
    before = reconcile(observe(model(**spec), sources=known))
    children = existing(before)
    template = before.objects[-2]["spec"]["template"]
    assert template["spec"]["nodeSelector"]["gpu"] in ("l4", "h100")
    changed = model(**spec, limits={"maxItems": 7})
    unknown = replace(sources, **change)
    held = reconcile(observe(changed, sources=unknown, children=children))
    deployment = next(one for one in held.objects if one["kind"] == "Deployment")
    assert deployment["spec"]["template"] == {
        **template, "metadata": {"labels": template["metadata"]["labels"]},
    }  # fmt: skip
    assert deployment["metadata"]["annotations"][ANNOTATION_PROFILE] == spec.get(
        "profile", "default"
    )
    assert held.delete == ()
    assert str((profile_condition(held) or {})["message"]).endswith(
        ". The pods keep their present template."
    )
    scaled = observe({**changed, "spec": {**changed["spec"], "replicas": 3}}, sources=unknown,
                     children=children)  # fmt: skip
    deployment = next(one for one in reconcile(scaled).objects if one["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 3
    again = reconcile(observe(changed, sources=known, children=children))
    assert profile_condition(again) is None
    assert '"maxItems":7' in str(again.objects)


def test_without_pods_a_model_waits_for_the_profile_it_names(
    observe: Observe, sources: Sources
) -> None:
    unknown = replace(sources, missing=MISSING)
    decision = reconcile(observe(model(profile="l4"), sources=unknown))
    assert (decision.objects, decision.status["reason"]) == ((), "InvalidSpec")
    ready = decision.status["conditions"][0]
    assert ready["message"] == MISSING


def test_a_fleet_that_never_had_profiles_needs_none(observe: Observe, sources: Sources) -> None:
    unknown = replace(sources, missing=MISSING)
    before = reconcile(observe(model()))
    after = reconcile(observe(model(), sources=unknown, children=existing(before)))
    assert after.objects == before.objects
    assert profile_condition(after) is None
    remote = model(engine="remote", remote={"address": "http://far"}, profile="l4")
    assert reconcile(observe(remote, sources=unknown)).status["reason"] == "ProbingRemote"
