"""Models on other servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleet_operator.decide.observed import Observed, Ref, RemoteReport
from fleet_operator.decide.reconcile import reconcile
from support.operator_objects import model, settings_of
from support.operator_states import again, condition_of, settled, with_cache

Observe = Callable[..., Observed]


def test_a_remote_model_has_no_children(observe: Observe) -> None:
    remote = {"engine": "remote", "remote": {"address": "http://far"}}
    bare = reconcile(observe(model(**remote)))
    assert bare.objects == ()
    assert (bare.status["phase"], bare.status["url"]) == ("Progressing", "http://far")
    assert [one["type"] for one in bare.status["conditions"]] == [
        "Ready", "Available", "Progressing", "Reconciling",
    ]  # fmt: skip
    had = settled(observe, model(), {"ready": True})
    changed = replace(had, model=model(**remote), resolution=observe(model(**remote)).resolution)
    assert reconcile(changed).delete == (Ref("Deployment", "m"), Ref("Service", "m"))


def test_a_remote_model_is_ready_while_its_address_is_reachable(observe: Observe) -> None:
    remote = {"engine": "remote", "remote": {"address": "http://far"}}
    observed = observe(model(**remote), remote=RemoteReport("http://far", True, "It answers."))
    decision = reconcile(observed)
    assert (decision.status["phase"], decision.status["reason"]) == ("Ready", "Remote")
    assert condition_of(decision, "Ready") == ("True", "Remote", "It answers.")
    restarted = reconcile(again(replace(observed, remote=None), decision))
    assert restarted.status == decision.status
    away = RemoteReport("http://far", False, "No.")
    gone = reconcile(again(replace(observed, remote=away), decision))
    assert (gone.status["phase"], condition_of(gone, "Ready")) == (
        "Failed", ("False", "RemoteUnreachable", "No."),
    )  # fmt: skip
    moved = replace(observed, remote=RemoteReport("http://old", True, "It answers."))
    assert reconcile(moved).status["reason"] == "ProbingRemote"


def test_a_remote_model_whose_key_is_refused(observe: Observe) -> None:
    remote = {"address": "https://far.test", "apiKeyEnv": "KEY"}
    decision = reconcile(
        observe(model(engine="remote", remote=remote), settings=settings_of(REMOTE_KEYS="OTHER"))
    )
    assert (decision.status["phase"], decision.status["reason"]) == ("Failed", "RemoteKeyRefused")
    assert {one["type"] for one in decision.status["conditions"]} == {
        "Ready", "Available", "Progressing", "Stalled",
    }  # fmt: skip
    assert condition_of(decision, "Ready") == (
        "False", "RemoteKeyRefused", "the key KEY is not one of remoteKeys",
    )  # fmt: skip


def test_a_model_that_becomes_remote_keeps_its_cache(observe: Observe) -> None:
    remote = model(engine="remote", remote={"address": "http://far"})
    observed = with_cache(settled(observe, model(), {"ready": True}))
    changed = replace(observed, model=remote, resolution=observe(remote).resolution)
    assert reconcile(changed).delete == (Ref("Deployment", "m"), Ref("Service", "m"))
