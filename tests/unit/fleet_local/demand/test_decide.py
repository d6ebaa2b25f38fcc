"""Which models start and stop within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_local.demand.decide import (
    PATIENCE_SECONDS,
    RESERVED_SECONDS,
    Candidate,
    Decision,
    State,
    at_once,
    decide,
    room_for,
    seconds_to_room,
)


def stopped(name: str, size: int, **fields: Any) -> Candidate:
    return Candidate(name, State.SCALED_TO_ZERO, size, **fields)


def ready(name: str, size: int, **fields: Any) -> Candidate:
    return Candidate(name, State.READY, size, **fields)


def test_a_wanted_model_that_fits_starts() -> None:
    models = [ready("a", 4), stopped("b", 6, waits=0.0), stopped("c", 1)]
    assert decide(models, 10) == Decision(start=("b",))


def test_the_idlest_model_yields() -> None:
    models = [
        ready("a", 4, idle_seconds=5), ready("b", 4, idle_seconds=60), stopped("c", 5, waits=0.0)
    ]  # fmt: skip
    assert decide(models, 10) == Decision(stop=("b",), waiting=("c",))
    stopping = [models[0], replace(models[1], state=State.STOPPING), models[2]]
    assert decide(stopping, 10) == Decision(waiting=("c",))
    gone = [models[0], replace(models[1], state=State.SCALED_TO_ZERO), models[2]]
    assert decide(gone, 10) == Decision(start=("c",))


def test_no_more_models_yield_than_needed() -> None:
    models = [
        ready("small", 1, idle_seconds=90), ready("big", 6, idle_seconds=60),
        stopped("c", 6, waits=0.0),
    ]  # fmt: skip
    assert decide(models, 10) == Decision(stop=("big",), waiting=("c",))


def test_nothing_yields_in_vain() -> None:
    models = [
        ready("idle", 2, idle_seconds=9), ready("busy", 6, in_flight=1), stopped("c", 9, waits=1.0)
    ]  # fmt: skip
    assert decide(models, 10) == Decision(waiting=("c",))


def test_busy_and_pinned_models_and_higher_priorities_stay() -> None:
    wanted = stopped("w", 4, waits=0.0)
    for other in (
        ready("o", 8, in_flight=1, idle_seconds=0),
        ready("o", 8, priority=1, idle_seconds=900),
        ready("o", 8, waits=1.0, idle_seconds=900),
        Candidate("o", State.STARTING, 8),
    ):
        assert decide([other, wanted], 10) == Decision(waiting=("w",))
    pinned = ready("o", 8, pinned=True, idle_seconds=900)
    assert decide([pinned, wanted], 10) == Decision(too_big=("w",))


def test_priorities_yield_before_idle_time_counts() -> None:
    models = [
        ready("low", 5, priority=-1, idle_seconds=1), ready("idle", 5, idle_seconds=900),
        stopped("w", 5, waits=0.0),
    ]  # fmt: skip
    assert decide(models, 10).stop == ("low",)


def test_a_model_yields_only_after_its_time() -> None:
    """It leaves for the budget itself and after its own idle time all the same."""
    wanted = stopped("w", 5, waits=0.0)
    fresh = ready("fresh", 5, idle_seconds=59, yields_after=60)
    assert decide([fresh, wanted], 9) == Decision(waiting=("w",))
    assert decide([replace(fresh, idle_seconds=60), wanted], 9).stop == ("fresh",)
    other = ready("other", 5, idle_seconds=1)
    assert decide([fresh, other, wanted], 14).stop == ("other",)
    assert decide([fresh, ready("busy", 5, in_flight=1)], 9).stop == ("fresh",)
    assert decide([replace(fresh, idle_limit=30)], 9).stop == ("fresh",)


def test_higher_priorities_start_first_then_those_that_wait_longest() -> None:
    models = [
        stopped("late", 4, waits=1.0), stopped("early", 4, waits=2.0),
        stopped("first", 4, waits=0.5, priority=5),
    ]  # fmt: skip
    assert decide(models, 9) == Decision(start=("first", "early"), waiting=("late",))


def test_a_model_leaves_after_its_idle_time_even_if_pinned() -> None:
    models = [
        ready("a", 1, idle_seconds=60, idle_limit=60), ready("b", 1, idle_seconds=900),
        ready("c", 1, idle_seconds=59, idle_limit=60), ready("d", 1, in_flight=1, idle_limit=1),
        ready("e", 1, idle_seconds=60, idle_limit=60, pinned=True),
    ]  # fmt: skip
    assert decide(models, 10) == Decision(stop=("a", "e"))


def test_models_that_have_grown_beyond_the_budget_yield_but_not_the_last() -> None:
    grown = [ready("a", 7, idle_seconds=1), ready("b", 7, idle_seconds=9)]
    assert decide(grown, 10) == Decision(stop=("b",))
    assert decide([ready("a", 70, idle_seconds=1)], 10) == Decision()


def test_a_model_that_waited_long_is_not_overtaken() -> None:
    busy = ready("busy", 6, in_flight=1)
    big = stopped("big", 8, waits=PATIENCE_SECONDS)
    small = stopped("small", 2, waits=1.0)
    assert decide([busy, big, small], 10) == Decision(waiting=("big", "small"))
    hurried = replace(big, waits=2.0)
    assert decide([busy, hurried, small], 10) == Decision(start=("small",), waiting=("big",))
    # A model that is never idle must not keep the others from starting for ever.
    for waits, started in ((0.9, ()), (1.0, ("small",)), (1.9, ("small",)), (2.0, ())):
        big = replace(big, waits=PATIENCE_SECONDS + waits * RESERVED_SECONDS)
        assert decide([busy, big, small], 10).start == started


def test_memory_of_a_stopping_model_is_promised_once() -> None:
    models = [
        Candidate("going", State.STOPPING, 8), ready("idle", 2, idle_seconds=9),
        stopped("a", 8, waits=2.0), stopped("b", 2, waits=1.0),
    ]  # fmt: skip
    assert decide(models, 10) == Decision(stop=("idle",), waiting=("a", "b"))


def test_what_fits_starts_with_the_fleet() -> None:
    models = [
        stopped("a", 4), stopped("b", 9), stopped("c", 5), stopped("d", 2),
        stopped("pinned", 3, pinned=True),
    ]  # fmt: skip
    assert at_once(models, 10) == Decision(
        start=("pinned", "a", "d"), waiting=("c",), too_big=("b",)
    )
    assert at_once([stopped("a", 1, pinned=True), stopped("b", 9, pinned=True)], 9) == Decision(
        start=("a",), too_big=("b",)
    )


candidates = st.builds(
    Candidate,
    name=st.uuids().map(str),
    state=st.sampled_from(State),
    size=st.integers(0, 12),
    priority=st.integers(-1, 1),
    pinned=st.booleans(),
    in_flight=st.integers(0, 2),
    idle_seconds=st.floats(0, 100),
    idle_limit=st.none() | st.floats(1, 100),
    waits=st.none() | st.floats(0, 30),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(candidates, max_size=8), st.integers(1, 20))
def test_any_decision_is_safe(models: list[Candidate], budget: int) -> None:
    decision = decide(models, budget)
    by_name = {each.name: each for each in models}
    started = [by_name[name] for name in decision.start]
    stopped = [by_name[name] for name in decision.stop]
    taken = sum(each.size for each in models if each.takes_memory)
    # Sizes of 0 need no room.
    if any(each.size for each in started):
        assert taken + sum(each.size for each in started) <= budget
    assert all(each.state is State.SCALED_TO_ZERO and each.waits is not None for each in started)
    for each in stopped:
        assert each.state is State.READY
        assert not each.in_flight
        assert each.waits is None
        expired = each.idle_limit is not None and each.idle_seconds >= each.idle_limit
        assert expired or not each.pinned
    named = [*decision.start, *decision.waiting, *decision.too_big]
    wanted = [m.name for m in models if m.state is State.SCALED_TO_ZERO and m.waits is not None]
    assert sorted(named) == sorted(wanted)


@settings(max_examples=100, deadline=None)
@given(st.lists(candidates, max_size=6), st.integers(1, 20))
def test_every_model_that_can_fit_gets_its_turn_once_others_are_idle(
    models: list[Candidate], budget: int
) -> None:
    """Requests end at once when their model is ready; what stops has ended by the next decision."""
    fleet = [
        replace(each, state=State.SCALED_TO_ZERO, in_flight=0, priority=0, pinned=False)
        for each in models
    ]
    left = {m.name for m in fleet if m.waits is not None and m.size <= room_for(m, fleet, budget)}
    for _ in range(4 * len(fleet) + 1):
        fleet = _next(fleet, decide(fleet, budget))
        served = {each.name for each in fleet if each.state is State.READY}
        left -= served
        fleet = [replace(m, waits=None) if m.name in served else m for m in fleet]
        assert sum(each.size for each in fleet if each.takes_memory) <= budget
    assert not left


def _next(fleet: Sequence[Candidate], decision: Decision) -> list[Candidate]:
    states = dict.fromkeys(decision.start, State.READY) | dict.fromkeys(
        decision.stop, State.SCALED_TO_ZERO
    )
    return [replace(each, state=states.get(each.name, each.state)) for each in fleet]


def test_a_model_that_started_only_just_stays_for_a_while() -> None:
    models = [
        ready("a", 4, kept_seconds=3.0),
        ready("b", 3, kept_seconds=5.0),
        stopped("c", 7, waits=1.0),
    ]
    assert decide(models, 8) == Decision(waiting=("c",))
    assert seconds_to_room(models[2], models, 8) == 5.0
    urgent = [*models[:2], stopped("c", 7, waits=1.0, priority=1)]
    assert decide(urgent, 8) == Decision(stop=("a", "b"), waiting=("c",))
    assert seconds_to_room(urgent[2], urgent, 8) == 0.0
    over = [replace(models[0], kept_seconds=0.0), replace(models[1], kept_seconds=0.0), models[2]]
    assert set(decide(over, 8).stop) == {"a", "b"}


def test_the_time_until_there_is_room() -> None:
    waits = stopped("c", 6, waits=1.0)
    assert seconds_to_room(waits, [waits], 6) == 0.0
    assert seconds_to_room(waits, [waits, ready("a", 4, in_flight=1)], 8) is None
    assert seconds_to_room(waits, [waits, replace(ready("a", 4), state=State.STOPPING)], 8) == 0.0
    busy = [
        waits,
        ready("a", 4, in_flight=1),
        ready("b", 4, kept_seconds=9.0),
        ready("p", 1, pinned=True),
    ]
    assert seconds_to_room(waits, busy, 12) == 9.0
