"""One Lease and several processes that want it."""

from __future__ import annotations

from typing import cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable
from fleet_operator.controller.lease import Lease, Terms
from support.lease_api import Clock, LeaseApi

TERMS = Terms(expires=12.0, deadline=8.0, contention=90.0)
OWNER = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "operator", "uid": "1"}


@pytest.fixture
def api() -> LeaseApi:
    return LeaseApi()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease(api: LeaseApi, clock: Clock, holder: str, owner: dict[str, str] | None = None) -> Lease:
    return Lease(cast(KubeClient, api), "ns", "lease", holder, TERMS, clock, owner)


async def test_the_first_holds_it_until_the_deadline(api: LeaseApi, clock: Clock) -> None:
    first = lease(api, clock, "a")
    assert await first.renew()
    assert api.holder("ns", "lease") == "a"
    clock.now += 7.9
    assert first.held
    clock.now += 0.2
    assert not first.held  # no renewal succeeded since


async def test_renewals_take_one_request(api: LeaseApi, clock: Clock) -> None:
    first = lease(api, clock, "a")
    await first.renew()
    api.calls.clear()
    for _ in range(3):
        clock.now += 2
        assert await first.renew()
    assert [verb for verb, *_ in api.calls] == ["patch"] * 3


async def test_another_waits_until_it_has_expired(api: LeaseApi, clock: Clock) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    assert not await second.renew()
    assert second.other == "a"
    for _ in range(5):
        clock.now += 2
        await first.renew()
        assert not await second.renew()
    for _ in range(5):  # the first is gone
        clock.now += 2
        assert not await second.renew()
    clock.now += 2
    assert await second.renew()
    assert not first.held
    assert not await first.renew()
    assert (first.other, second.other) == ("b", "")


async def test_there_are_never_two_holders(api: LeaseApi, clock: Clock) -> None:
    both = [lease(api, clock, "a"), lease(api, clock, "b")]
    for step in range(60):
        api.error = ApiUnreachable("outage") if 20 <= step < 40 else None
        for one in both if step % 2 else reversed(both):
            if api.error is None:
                await one.renew()
            else:
                with pytest.raises(ApiUnreachable):
                    await one.renew()
            assert sum(each.held for each in both) <= 1
        clock.now += 1
    assert sum(each.held for each in both) == 1


async def test_a_restarted_holder_does_not_wait(api: LeaseApi, clock: Clock) -> None:
    await lease(api, clock, "a").renew()
    assert await lease(api, clock, "a").renew()


async def test_a_released_lease_is_gone_and_free(api: LeaseApi, clock: Clock) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    await second.renew()
    await second.release()  # does not hold it
    assert api.holder("ns", "lease") == "a"
    await first.release()
    assert api.holder("ns", "lease") is None
    assert not first.held
    assert await second.renew()


async def test_one_that_has_lapsed_is_deleted_unless_another_has_it(
    api: LeaseApi, clock: Clock
) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    await second.renew()
    await second.contend()
    clock.now += TERMS.expires + 1
    assert await first.release()
    assert api.holder("ns", "lease") is None
    await first.renew()
    await second.renew()
    clock.now += TERMS.expires + 1
    assert await second.renew()
    assert await first.release()
    assert api.holder("ns", "lease") == "b"


async def test_one_that_another_process_has_renewed_is_not_deleted(
    api: LeaseApi, clock: Clock
) -> None:
    """Replicas have one name in the Leases of namespaces."""
    first, second = lease(api, clock, "a"), lease(api, clock, "a")
    await first.renew()
    await second.renew()
    assert await first.release()
    assert second.held
    assert api.holder("ns", "lease") == "a"


async def test_one_that_is_renewed_during_its_release_is_not_deleted(
    api: LeaseApi, clock: Clock
) -> None:
    first = lease(api, clock, "a")
    await first.renew()

    def renewed() -> None:
        api.latency["lease"] = lambda: api.touch("ns", "lease")

    api.latency["lease"] = renewed
    assert not await first.release()
    assert api.holder("ns", "lease") == "a"


async def test_a_release_can_be_repeated_and_renews_nothing(api: LeaseApi, clock: Clock) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    await second.renew()
    api.undeletable = True
    for _ in range(2):
        with pytest.raises(ApiError):
            await first.release()
        assert not first.held
        clock.now += TERMS.expires / 2
    assert await second.renew()
    api.undeletable = False
    assert await first.release()
    assert api.holder("ns", "lease") == "b"


async def test_a_release_makes_nothing(api: LeaseApi, clock: Clock) -> None:
    first = lease(api, clock, "a")
    assert await first.release()
    await first.renew()
    api.objects.clear()
    api.calls.clear()
    assert await first.release()
    assert [verb for verb, *_ in api.calls] == ["get"]


async def test_its_owner_follows_the_holder(api: LeaseApi, clock: Clock) -> None:
    first, second = lease(api, clock, "a", OWNER), lease(api, clock, "b")
    await first.renew()
    assert api.owners("ns", "lease") == [OWNER]
    clock.now += 1
    await first.renew()
    assert api.owners("ns", "lease") == [OWNER]
    assert await second.renew(ended="a")
    # The Lease of one release must not be deleted with another release.
    assert not api.owners("ns", "lease")
    assert await lease(api, clock, "b", OWNER).renew()
    assert api.owners("ns", "lease") == [OWNER]


async def test_a_deleted_lease_is_made_again(api: LeaseApi, clock: Clock) -> None:
    first = lease(api, clock, "a")
    await first.renew()
    api.objects.clear()
    assert await first.renew()
    assert api.holder("ns", "lease") == "a"


async def test_the_holder_learns_of_a_contender(api: LeaseApi, clock: Clock) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    assert first.contender == ""
    assert not await second.renew()
    await second.contend()
    assert await first.renew()
    assert first.contender == "b"
    clock.now += 5
    assert await first.renew()
    assert first.contender == "b"
    for _ in range(20):
        clock.now += 5
        await first.renew()
    assert first.contender == ""  # the contender has given up


async def test_a_lease_is_taken_over_from_the_named_holder_only(
    api: LeaseApi, clock: Clock
) -> None:
    first, second = lease(api, clock, "a"), lease(api, clock, "b")
    await first.renew()
    assert not await second.renew(ended="c")
    assert await second.renew(ended="a")
    assert api.holder("ns", "lease") == "b"
    assert not await first.renew()
