"""ResourceClaimTemplates over the versions of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_contract.pod.resources import DeviceRequest
from fleet_contract.status import Rollout
from fleet_operator.decide.device_claims import needed
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.features import Features
from fleet_operator.resources import children
from support.operator_objects import model, pod, settings_of

Observe = Callable[..., Observed]
KIND = "ResourceClaimTemplate"
RAW = model(devices=[{"class": "gpu.nvidia.com"}])
OLD_TEMPLATE = children.claim_template(RAW, [DeviceRequest.model_validate({"class": "old.com"})])
assert OLD_TEMPLATE is not None
OLD_TEMPLATE["metadata"]["uid"] = "u"
OLD = Ref(KIND, OLD_TEMPLATE["metadata"]["name"])


def claiming(observe: Observe, raw: dict[str, Any] = RAW, **fields: Any) -> Observed:
    settings = settings_of(SERVER_IMAGE_CUDA="cuda")
    features = Features(device_claims=True)
    return observe(raw, settings=settings, features=features, **fields)


def test_the_template_is_applied_before_the_deployment(observe: Observe) -> None:
    decision = reconcile(claiming(observe))
    kinds = [child["kind"] for child in decision.objects]
    assert kinds.index(KIND) < kinds.index("Deployment")
    (claim,) = decision.objects[1]["spec"]["template"]["spec"]["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == decision.objects[0]["metadata"]["name"]


def test_without_the_api_a_condition_reports_it(observe: Observe) -> None:
    decision = reconcile(replace(claiming(observe), features=Features()))
    assert decision.objects == ()
    assert decision.status["reason"] == "DevicesUnavailable"
    assert "Kubernetes 1.34" in str(decision.status["conditions"])


@pytest.mark.parametrize(
    ("stable", "pods", "kept"),
    [
        ("v2", ["v2"], False),
        ("v2", [], False),
        ("v1", ["v1", "v2"], True),
        ("v2", ["v1", "v2"], True),
        ("v1", [], True),
        (None, ["v2"], True),
    ],
)
def test_an_old_template_is_kept_until_the_new_version_is_stable_and_alone(
    observe: Observe, stable: str | None, pods: list[str], kept: bool
) -> None:
    raws = [pod(f"m-{i}", template=version) for i, version in enumerate(pods)]
    observed = claiming(observe, pods=raws, children={OLD: {}, Ref("Service", "m"): {}})
    rollout = Rollout(stable_hash=stable)
    assert needed(observed, "v2", rollout) == (frozenset({OLD}) if kept else frozenset())
    ended = pod("m-evicted", template="v1", phase="Failed")
    observed = claiming(observe, pods=[*raws, ended], children={OLD: {}, Ref("Service", "m"): {}})
    assert needed(observed, "v2", rollout) == (frozenset({OLD}) if kept else frozenset())


def test_an_old_template_is_deleted_at_last(observe: Observe) -> None:
    bare = claiming(observe)
    decision = reconcile(replace(bare, children={OLD: OLD_TEMPLATE}))
    assert OLD not in decision.delete
    present = {
        Ref(one["kind"], one["metadata"]["name"]): {
            **one, "metadata": {**one["metadata"], "uid": one["kind"], "resourceVersion": "1"},
        }
        for one in decision.objects
    }  # fmt: skip
    template = decision.objects[1]["spec"]["template"]["metadata"]["labels"]
    ready = pod(template=template["modelfleet.dev/template"], ready=True)
    done = reconcile(claiming(observe, pods=[ready], children={**present, OLD: OLD_TEMPLATE}))
    assert done.delete == (OLD,)


def test_templates_go_with_the_servers(observe: Observe) -> None:
    plain = model()
    bare = observe(plain, children={OLD: OLD_TEMPLATE})
    (deployment,) = [one for one in reconcile(bare).objects if one["kind"] == "Deployment"]
    version = deployment["metadata"]["labels"]["modelfleet.dev/template"]
    ready = [pod(template=version, ready=True)]
    present = {**deployment, "metadata": {**deployment["metadata"], "uid": "d"}}
    kept = {**bare.children, Ref("Deployment", "m"): present}
    assert OLD in reconcile(observe(plain, ready, children=kept)).delete
