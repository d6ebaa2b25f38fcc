"""The weight of a model that rises by itself, and why it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_contract.blocks.traffic import Traffic
from fleet_contract.status import TrafficShare
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Comparison, Observed, RemoteReport, Rival, Tally
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.traffic import canary
from fleet_operator.decide.turn import Turn
from fleet_operator.timestamps import render
from support.operator_objects import NOW, model, settings_of
from support.operator_states import again, condition_of, settled

Observe = Callable[..., Observed]
RISE = {"step": 30, "intervalSeconds": 60, "minRequests": 50}
TRAFFIC = {"group": "org/old", "weight": 10, "rise": RISE}
GOOD = Tally(100, 0, 20.0, 100)
REFUSING = GOOD._replace(rejected=100)
FAILED_CHECK = '{"event": "load_failed", "stage": "golden", "message": "4 is not 5"}'
GOLDEN = {"ended": {"exitCode": 3, "message": FAILED_CHECK}}


def weight(decision: Decision) -> tuple[int, str]:
    found = decision.status["traffic"]
    return found["weight"], found["reason"]


def rising(observe: Observe, *fares: dict[str, Any], **traffic: Any) -> Observed:
    """A model that serves, and whose weight has been decided once."""
    raw = model(traffic={**TRAFFIC, **traffic})
    observed = settled(observe, raw, *(fares or ({"ready": True},)))
    return again(observed, reconcile(observed), now=NOW)


def compared(observed: Observed, own: Tally, primary: Tally = GOOD, later: float = 60) -> Decision:
    since = observed.status["traffic"]["since"]
    known = Comparison(since, own, primary)
    return reconcile(replace(observed, comparison=known, now=observed.now + later))


def test_a_model_begins_with_the_weight_of_its_spec(observe: Observe) -> None:
    starting = reconcile(settled(observe, model(traffic=TRAFFIC), {}))
    assert weight(starting) == (10, "WaitingForServers")
    serving = rising(observe)
    assert serving.status["traffic"] == {
        "weight": 10, "start": 10, "reason": "Rising", "since": render(NOW),
        "version": serving.status["rollout"]["stableHash"],
        "spec": canary.spec_digest(serving.model["spec"]),
    }  # fmt: skip


def test_a_weight_without_rise_is_left_to_the_spec(observe: Observe) -> None:
    decision = reconcile(settled(observe, model(traffic={"group": "g", "weight": 5})))
    assert "traffic" not in decision.status


def test_the_weight_rises_to_the_whole(observe: Observe) -> None:
    observed, found = rising(observe), []
    for _ in range(5):
        decision = compared(observed, GOOD)
        found.append(weight(decision))
        observed = again(observed, decision, now=observed.now + 60)
    assert found == [(40, "Rising"), (70, "Rising"), (100, "Complete"), (100, "Complete"),
                     (100, "Complete")]  # fmt: skip
    message = "100% of the requests for 'org/old'."
    assert condition_of(decision, "Traffic") == ("True", "Complete", message)


def test_a_rise_is_an_event(observe: Observe) -> None:
    decision = compared(rising(observe), GOOD)
    assert [(event.type, event.reason, event.message) for event in decision.events] == [
        ("Normal", "Shifted", "40% of the requests for 'org/old'.")
    ]
    assert not decision.passing


@pytest.mark.parametrize(
    ("own", "later"),
    [
        (GOOD, 59),
        (GOOD._replace(requests=49), 600),
        (Tally(), 600),
        (GOOD._replace(first_bytes=49), 600),
    ],
    ids=["too early", "too few requests", "no requests", "too few responses"],
)
def test_the_weight_stays(observe: Observe, own: Tally, later: float) -> None:
    assert weight(compared(rising(observe), own, later=later)) == (10, "Rising")


def test_a_comparison_of_an_earlier_weight_does_not_count(observe: Observe) -> None:
    observed = rising(observe)
    old = Comparison(render(NOW - 60), GOOD, GOOD)
    decision = reconcile(replace(observed, comparison=old, now=NOW + 600))
    assert weight(decision) == (10, "Rising")


@pytest.mark.parametrize(
    ("own", "primary", "message"),
    [
        (Tally(100, 5, 20, 100), GOOD, "5.0% of its requests fail, 0.0% of the primary's."),
        (Tally(100, 5, 20, 100), Tally(100, 4, 20, 100), ""),
        (Tally(100, 2, 20, 100), GOOD, ""),
        (Tally(100, 5, 20, 100), Tally(0, 0, 0, 0), "5.0% of its requests fail"),
        (Tally(100, 0, 40, 100), GOOD, "takes 0.40 s on average, that of the primary's 0.20 s."),
        (Tally(100, 0, 34, 100), GOOD, ""),
        (Tally(100, 0, 40, 100), Tally(10, 0, 1, 10), ""),
        (Tally(100, 0, 40, 100, 0, 20.0), GOOD, ""),
        (Tally(100, 0, 0, 0, 6), GOOD, "6.0% of its requests are given up by their clients, 0.0%"),
        (Tally(100, 0, 0, 0, 6), GOOD._replace(abandoned=1), ""),
        (Tally(100, 0, 0, 0, 6), Tally(10, 0, 1, 10), ""),
        (REFUSING, GOOD, "100.0% of its requests are rejected with 4xx, 0.0% of the primary's."),
        (REFUSING._replace(rejected=3), GOOD, "3.0% of its requests are rejected with 4xx"),
        (REFUSING._replace(rejected=2), GOOD, ""),
        (REFUSING._replace(rejected=17), GOOD._replace(rejected=8), ""),
        (REFUSING._replace(rejected=18), GOOD._replace(rejected=8), "18.0% of its requests are"),
        (REFUSING, REFUSING, ""),
        (REFUSING, Tally(10, 0, 1, 10), "100.0% of its requests are rejected with 4xx"),
        (REFUSING._replace(rejected=50), Tally(10, 0, 1, 10), ""),
    ],
)  # fmt: skip
def test_a_model_that_does_worse_is_taken_back(
    observe: Observe, own: Tally, primary: Tally, message: str
) -> None:
    observed = rising(observe)
    decision = compared(observed, own, primary, later=1)
    assert weight(decision) == ((0, "TakenBack") if message else (10, "Rising"))
    if message:
        assert message in condition_of(decision, "Traffic")[2]
        assert condition_of(decision, "Traffic")[0] == "False"
        assert [(event.type, event.reason) for event in decision.events] == [
            ("Warning", "TakenBack")
        ]


@pytest.mark.parametrize(("errors", "found"), [(0, (10, "Rising")), (50, (0, "TakenBack"))])
def test_with_a_router_unread_a_weight_is_only_taken_back(
    observe: Observe, errors: int, found: tuple[int, str]
) -> None:
    observed = rising(observe)
    since = observed.status["traffic"]["since"]
    known = Comparison(since, Tally(100, errors, 20.0, 100), GOOD, complete=False)
    decision = reconcile(replace(observed, comparison=known, now=observed.now + 60))
    assert weight(decision) == found


def test_a_failed_golden_check_takes_the_weight_back(observe: Observe) -> None:
    observed = rising(observe)
    failed = settled(observe, observed.model, GOLDEN)
    decision = reconcile(failed)
    assert weight(decision) == (0, "TakenBack")
    assert "GoldenCheckFailed: 4 is not 5" in condition_of(decision, "Traffic")[2]


def test_a_weight_that_was_taken_back_stays_so(observe: Observe) -> None:
    observed = rising(observe)
    back = again(observed, compared(observed, Tally(100, 50, 20, 100)), now=NOW + 60)
    assert weight(compared(back, GOOD, later=600)) == (0, "TakenBack")


@pytest.mark.parametrize("spec", [{"traffic": {**TRAFFIC, "weight": 20}}, {"dtype": "float16"}])
def test_a_change_begins_again(observe: Observe, spec: dict[str, Any]) -> None:
    observed = rising(observe)
    back = again(observed, compared(observed, Tally(100, 50, 20, 100)), now=NOW + 60)
    raw = {**model(**{"traffic": TRAFFIC, **spec}), "status": back.status}
    decision = reconcile(replace(back, model=raw, resolution=observe(raw).resolution))
    assert weight(decision)[0] == (20 if "traffic" in spec else 10)


def complete(observe: Observe) -> Observed:
    """A model whose weight has risen to 100."""
    observed = rising(observe, weight=90)
    observed = again(observed, compared(observed, GOOD), now=NOW + 60)
    assert (observed.status["traffic"]["weight"], observed.status["phase"]) == (100, "Ready")
    return observed


def test_new_servers_of_the_same_spec_keep_the_whole(observe: Observe) -> None:
    """Such as after an update of the operator or of a profile: the primary may be asleep."""
    observed = complete(observe)
    updated = replace(observed, settings=settings_of(SERVER_IMAGE_CPU="newer"))
    decision = reconcile(updated)
    assert weight(decision) == (100, "WaitingForServers")
    assert decision.status["traffic"]["version"] != observed.status["traffic"]["version"]
    twice = replace(again(updated, decision), settings=settings_of(SERVER_IMAGE_CPU="newest"))
    assert weight(reconcile(twice)) == (100, "WaitingForServers")


@pytest.mark.parametrize(
    ("edit", "found"), [({"replicas": 1, "price": {"input": 1}}, 100), ({"dtype": "float16"}, 90)]
)
def test_new_servers_of_another_spec_begin_again(
    observe: Observe, edit: dict[str, Any], found: int
) -> None:
    observed = complete(observe)
    raw = {**observed.model, "spec": {**observed.model["spec"], **edit}}
    changed = replace(observed, model=raw, resolution=observe(raw).resolution,
                      settings=settings_of(SERVER_IMAGE_CPU="newer"))  # fmt: skip
    assert weight(reconcile(changed))[0] == found


def of_an_earlier_operator(observed: Observed) -> Observed:
    """Its status lacks the digest of the spec, and new pods have another image."""
    traffic = {name: value for name, value in observed.status["traffic"].items() if name != "spec"}
    raw = {**observed.model, "status": {**observed.status, "traffic": traffic}}
    return replace(observed, model=raw, settings=settings_of(SERVER_IMAGE_CPU="newer"))


def edited(observe: Observe, observed: Observed, **spec: Any) -> Observed:
    meta = {**observed.model["metadata"], "generation": 3}
    raw = {**observed.model, "metadata": meta, "spec": {**observed.model["spec"], **spec}}
    return replace(observed, model=raw, resolution=observe(raw).resolution)


def test_an_update_from_an_operator_that_recorded_no_spec_keeps_the_whole(
    observe: Observe,
) -> None:
    updated = of_an_earlier_operator(complete(observe))
    decision = reconcile(updated)
    assert weight(decision) == (100, "WaitingForServers")
    spec = canary.spec_digest(updated.model["spec"])
    assert decision.status["traffic"]["spec"] == spec
    # Edited while the operator was down: what was complete is unknown.
    assert weight(reconcile(edited(observe, updated, dtype="float16")))[0] == 90


@pytest.mark.parametrize("paused", [False, True])
def test_an_edit_before_the_first_new_servers_begins_again(observe: Observe, paused: bool) -> None:
    updated = of_an_earlier_operator(complete(observe))
    turn = Turn() if paused else Turn(("ns/other",), ("ns/other",))
    meta = updated.model["metadata"]
    notes = {"annotations": {"modelfleet.dev/paused": "true"}} if paused else {}
    first = replace(updated, model={**updated.model, "metadata": {**meta, **notes}}, turn=turn)
    decision = reconcile(first)
    assert weight(decision) == (100, "Complete")
    later = replace(again(updated, decision), turn=Turn())
    assert weight(reconcile(edited(observe, later, dtype="float16")))[0] == 90


def test_a_weight_that_begins_before_the_turn_of_its_spec_is_not_of_that_spec(
    observe: Observe,
) -> None:
    observed = complete(observe)
    traffic = {**TRAFFIC, "weight": 95}
    waiting = replace(edited(observe, observed, dtype="float16", traffic=traffic),
                      turn=Turn(("ns/other",), ("ns/other",)))  # fmt: skip
    first = again(waiting, reconcile(waiting), now=NOW + 120)
    assert first.status["traffic"]["spec"] == observed.status["traffic"]["spec"]
    decision = compared(first, GOOD)
    assert weight(decision) == (100, "Complete")
    turn = replace(again(first, decision, now=NOW + 180), turn=Turn())
    assert weight(reconcile(turn))[0] == 95


def test_a_change_that_waits_for_its_turn_begins_again_later(observe: Observe) -> None:
    observed = complete(observe)
    raw = {**observed.model, "spec": {**observed.model["spec"], "dtype": "float16"}}
    changed = replace(observed, model=raw, resolution=observe(raw).resolution)
    waiting = replace(changed, turn=Turn(("ns/other",), ("ns/other",)))
    decision = reconcile(waiting)
    assert weight(decision) == (100, "Complete")
    assert weight(reconcile(again(changed, decision)))[0] == 90


def test_a_flaw_does_not_keep_the_weight(observe: Observe) -> None:
    """Such as a lost alias: the servers are those of the spec, and serve."""
    lost = (Rival("other", "alias"),)
    observed = replace(rising(observe), lost=lost)
    decision = compared(observed, GOOD)
    assert (decision.status["reason"], weight(decision)) == ("DuplicateAlias", (40, "Rising"))
    assert weight(compared(observed, REFUSING)) == (0, "TakenBack")
    failed = replace(settled(observe, observed.model, GOLDEN), lost=lost)
    assert weight(reconcile(failed)) == (0, "TakenBack")


def test_the_time_without_servers_does_not_count(observe: Observe) -> None:
    observed = rising(observe)
    gone = settled(observe, observed.model, {}, now=NOW + 30)
    decision = reconcile(gone)
    assert weight(decision) == (10, "WaitingForServers")
    back = again(settled(observe, observed.model, {"ready": True}), decision, now=NOW + 50)
    decision = reconcile(back)
    assert weight(decision) == (10, "Rising")
    assert decision.status["traffic"]["since"] == render(NOW + 50)


def test_an_invalid_change_keeps_the_weight(observe: Observe) -> None:
    observed = rising(observe)
    raw = {**model(traffic=TRAFFIC, engine="torch"), "status": observed.status}
    decision = reconcile(replace(observed, model=raw, resolution=observe(raw).resolution))
    assert decision.status["reason"] == "EngineUnavailable"
    assert weight(decision) == (10, "Rising")


def test_a_remote_model_can_be_a_canary(observe: Observe) -> None:
    raw = model(engine="remote", remote={"address": "http://far"}, traffic=TRAFFIC)
    observed = observe(raw, remote=RemoteReport("http://far", True, "yes"))
    assert weight(reconcile(observed)) == (10, "Rising")
    away = replace(observed, remote=RemoteReport("http://far", False, "no"))
    assert weight(reconcile(away)) == (0, "TakenBack")


def test_the_share_is_described() -> None:
    found = TrafficShare(weight=0, start=5, version="v", reason="TakenBack", message="Why.",
                         since=render(NOW))  # fmt: skip
    traffic = Traffic(group="g", weight=5)
    assert canary.describe(traffic, found) == "0% of the requests for 'g'. Why."
