"""The leader of several replicas, and the release that serves a namespace."""

from __future__ import annotations

from functools import partial
from typing import cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_operator.controller.leadership import (
    ELECTION,
    ELECTION_LEASE,
    ELECTION_SECONDS,
    MOVING_SECONDS,
    NAMESPACE,
    NAMESPACE_LEASE,
    Leadership,
)
from fleet_operator.controller.lease import Owner
from fleet_operator.shard import Shard
from support.lease_api import Clock, LeaseApi

WHOLE = Shard()
OWNER = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "operator", "uid": "1"}


class Replica:
    """One operator process."""

    def __init__(
        self,
        api: LeaseApi,
        clock: Clock,
        own: str,
        pod: str,
        shard: Shard = WHOLE,
        owner: Owner | None = None,
    ) -> None:
        self.served = {"team-a"}
        self.changed: list[str] = []
        self.leadership = Leadership(
            cast(KubeClient, api), own, pod, shard, lambda: self.served, self.changed.append, clock,
            owner,
        )  # fmt: skip

    async def step(self) -> None:
        await self.leadership.elect()
        if self.leadership.leads:
            await self.leadership.hold_namespaces()
            await self.leadership.give_up_namespaces()

    def writes(self, namespace: str = "team-a") -> bool:
        return self.leadership.may_write(namespace)


@pytest.fixture
def api() -> LeaseApi:
    return LeaseApi()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_standby_takes_over_in_less_than_20_seconds(api: LeaseApi, clock: Clock) -> None:
    first, second = (Replica(api, clock, "fleet", pod) for pod in ("p-1", "p-2"))
    for _ in range(10):
        await first.step()
        await second.step()
        assert (first.writes(), second.writes()) == (True, False)
        clock.now += ELECTION_SECONDS
    assert first.changed == ["team-a"]
    began = clock.now - ELECTION_SECONDS
    second.changed.clear()
    while not second.writes():  # the first is gone
        clock.now += ELECTION_SECONDS
        await second.step()
    assert clock.now - began < 20
    assert not first.writes()
    assert second.changed == ["team-a"]


async def test_a_stopped_leader_hands_over_at_once(api: LeaseApi, clock: Clock) -> None:
    first, second = (Replica(api, clock, "fleet", pod) for pod in ("p-1", "p-2"))
    await first.step()
    await second.step()
    await first.leadership.release()
    await second.step()
    assert (first.writes(), second.writes()) == (False, True)


async def test_a_second_release_is_refused_and_the_first_knows(api: LeaseApi, clock: Clock) -> None:
    first, second = Replica(api, clock, "one", "p"), Replica(api, clock, "two", "p")
    second.served = {"team-a", "team-b"}
    await first.step()
    await second.step()
    assert (first.writes(), second.writes(), second.writes("team-b")) == (True, False, True)
    assert second.leadership.refused == {"team-a"}
    assert first.leadership.refused == set()
    first.changed.clear()
    clock.now += 41
    await first.step()
    assert first.leadership.contender("team-a") == "two"
    assert second.leadership.contender("team-b") == ""
    assert first.changed.count("team-a") >= 1


async def test_a_second_release_takes_over_once_the_first_is_gone(
    api: LeaseApi, clock: Clock
) -> None:
    first, second = Replica(api, clock, "one", "p"), Replica(api, clock, "two", "p")
    await first.step()
    await second.step()
    began = clock.now
    while not second.writes():
        assert clock.now - began < 2 * NAMESPACE.expires
        clock.now += ELECTION_SECONDS
        await second.step()
    assert clock.now - began >= NAMESPACE.expires
    assert second.leadership.refused == set()


async def test_shards_elect_leaders_of_their_own(api: LeaseApi, clock: Clock) -> None:
    both = [Replica(api, clock, "fleet", "p", Shard(index, 2)) for index in range(2)]
    both[0].served, both[1].served = {"team-a"}, {"team-b"}
    for one in both:
        await one.step()
    assert [one.leadership.leads for one in both] == [True, True]
    assert both[0].writes("team-a")
    assert both[1].writes("team-b")
    assert {name for _, name in api.objects} == {
        f"{ELECTION_LEASE}-0-of-2", f"{ELECTION_LEASE}-1-of-2", NAMESPACE_LEASE,
    }  # fmt: skip


async def test_an_outage_ends_the_leadership_and_everything_is_reconciled_after_it(
    api: LeaseApi, clock: Clock
) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.changed.clear()
    api.error = ApiUnreachable("outage")
    clock.now += 9
    await one.step()
    assert not one.writes()
    assert one.leadership.problem
    api.error = None
    await one.step()
    assert one.writes()
    assert one.changed == ["team-a"]
    assert one.leadership.problem == ""


async def test_a_lapse_between_two_renewals_is_noticed(api: LeaseApi, clock: Clock) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.changed.clear()
    api.error = ApiUnreachable("timeout")
    clock.now += 7
    await one.step()
    assert one.writes()  # the failed renewal ends before the deadline
    api.error = None
    clock.now += 2
    assert not one.writes()  # reconciles of this second change nothing
    await one.leadership.elect()
    assert one.writes()
    assert one.changed == ["team-a"]


async def test_a_namespace_that_lapses_during_its_renewal_is_noticed(
    api: LeaseApi, clock: Clock
) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.changed.clear()
    clock.now += NAMESPACE.deadline - 1
    await one.leadership.elect()
    one.changed.clear()
    api.latency[NAMESPACE_LEASE] = partial(clock.advance, 2)
    await one.leadership.hold_namespaces()
    assert one.writes()
    assert one.changed == ["team-a"]


async def test_a_forbidden_namespace_does_not_hold_up_the_others(
    api: LeaseApi, clock: Clock
) -> None:
    api.forbidden = {"team-a"}
    one = Replica(api, clock, "fleet", "p")
    one.served = {"team-a", "team-b"}
    await one.step()
    assert (one.writes("team-a"), one.writes("team-b")) == (False, True)
    before = len(api.calls)
    clock.now += ELECTION_SECONDS
    await one.step()
    asked = [namespace for _, namespace, _ in api.calls[before:]]
    assert "team-a" not in asked  # tried again after a minute


async def test_a_namespace_without_models_is_given_up(api: LeaseApi, clock: Clock) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    assert api.holder("team-a", NAMESPACE_LEASE) == "fleet"
    one.served = set()
    await one.step()
    assert api.holder("team-a", NAMESPACE_LEASE) is None
    assert not one.writes()


@pytest.mark.parametrize("error", [ApiUnreachable("no route"), ApiError(503, "", "overloaded")])
async def test_a_namespace_is_given_up_after_an_outage(
    api: LeaseApi, clock: Clock, error: KubeError
) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.served, api.error = set(), error
    await one.step()
    clock.now += NAMESPACE.expires
    api.error = None
    await one.step()
    assert api.holder("team-a", NAMESPACE_LEASE) is None
    before = len(api.calls)
    await one.leadership.give_up_namespaces()
    assert len(api.calls) == before


async def test_a_namespace_that_is_served_again_is_kept(api: LeaseApi, clock: Clock) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.served, api.error = set(), ApiUnreachable("no route")
    await one.step()
    one.served, api.error = {"team-a"}, None
    for _ in range(3):
        await one.step()
        assert one.writes()


@pytest.mark.parametrize("refusal", ["forbidden", "policy"])
async def test_a_refused_release_is_not_tried_again(
    api: LeaseApi, clock: Clock, refusal: str
) -> None:
    one, two = Replica(api, clock, "fleet", "p"), Replica(api, clock, "other", "p")
    await one.step()
    await two.step()
    one.served = set()
    if refusal == "policy":
        api.undeletable = True
    else:
        api.forbidden.add("team-a")
    await one.step()
    before = len(api.calls)
    await one.leadership.give_up_namespaces()
    assert len(api.calls) == before
    api.forbidden.clear()
    clock.now += NAMESPACE.expires + 1
    await two.step()
    assert two.writes()  # the Lease has expired without a renewal


async def test_a_namespace_is_given_up_by_one_that_stops_directly_after(
    api: LeaseApi, clock: Clock
) -> None:
    one = Replica(api, clock, "fleet", "p")
    await one.step()
    one.served = set()
    await one.leadership.release()
    assert api.objects == {}


async def test_a_former_leader_does_not_delete_the_lease_of_the_next(
    api: LeaseApi, clock: Clock
) -> None:
    first, second = (Replica(api, clock, "fleet", pod) for pod in ("p-1", "p-2"))
    await first.step()
    await second.step()
    first.served, api.error = set(), ApiUnreachable("no route")
    await first.step()
    api.error = None
    clock.now += ELECTION.expires + 1
    await second.step()
    assert second.writes()
    await first.leadership.give_up_namespaces()  # suspended until now
    await second.step()
    assert second.writes()
    assert api.holder("team-a", NAMESPACE_LEASE) == "fleet"


async def test_leases_beside_the_operator_are_owned_by_its_account(
    api: LeaseApi, clock: Clock
) -> None:
    one = Replica(api, clock, "fleet", "p", owner=OWNER)
    one.served = {"fleet", "team-a"}
    await one.step()
    assert api.owners("fleet", ELECTION_LEASE) == [OWNER]
    assert api.owners("fleet", NAMESPACE_LEASE) == [OWNER]
    assert not api.owners("team-a", NAMESPACE_LEASE)  # owners are in the same namespace


async def test_a_namespace_moves_to_another_shard_without_contention(
    api: LeaseApi, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = (Replica(api, clock, "fleet", "p", Shard(index, 2)) for index in range(2))
    await old.step()
    await new.step()
    assert (old.writes(), new.writes()) == (True, False)
    assert new.leadership.refused == set()
    assert "namespace_moving" in caplog.messages
    clock.now += MOVING_SECONDS
    await old.step()
    await new.step()
    assert old.leadership.contender("team-a") == ""
    old.served.add("team-b")
    await old.step()
    await old.leadership.release(lambda namespace: namespace == "team-b")
    assert api.holder("team-a", NAMESPACE_LEASE) is None
    assert api.holder("team-b", NAMESPACE_LEASE) == "fleet-0-of-2"
    clock.now += MOVING_SECONDS
    await new.step()
    assert new.writes()
    assert new.changed == ["team-a"]


@pytest.mark.parametrize("before", [Shard(), Shard(2, 3)], ids=["one operator", "three shards"])
async def test_after_a_change_of_the_number_of_shards_nobody_waits(
    api: LeaseApi, clock: Clock, before: Shard
) -> None:
    old, new = Replica(api, clock, "fleet", "p", before), Replica(api, clock, "fleet", "q",
                                                                  Shard(1, 2))  # fmt: skip
    await old.step()
    await new.step()
    assert (old.writes(), new.writes()) == (True, False)
    await old.leadership.release()  # as at every stop: Leases of namespaces stay
    assert api.holder("team-a", NAMESPACE_LEASE) == f"fleet{before.suffix}"
    clock.now += MOVING_SECONDS
    await new.step()
    assert (old.writes(), new.writes()) == (False, True)


async def test_one_that_does_not_lead_gives_up_nothing(api: LeaseApi, clock: Clock) -> None:
    leader, standby = (Replica(api, clock, "fleet", pod) for pod in ("p-1", "p-2"))
    await leader.step()
    await standby.step()
    await standby.leadership.release(lambda _: False)
    assert leader.writes()
    assert api.holder("team-a", NAMESPACE_LEASE) == "fleet"
