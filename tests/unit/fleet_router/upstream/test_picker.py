"""The choice of a server from ejections, loads, slow start and the model's strategy."""

from __future__ import annotations

import pytest

from fleet_contract.spec import ModelSpec
from fleet_router.request.cost import RequestCost
from fleet_router.routing.table import Endpoint, Route
from fleet_router.upstream.outliers import SLOW_START_SECONDS, Outliers
from fleet_router.upstream.picker import EndpointPicker
from fleet_router.upstream.pool import PoolManager

THREE = tuple(Endpoint(name, f"10.0.0.{n}", 8000) for n, name in enumerate("abc", 1))
A, B, C = THREE


class Picking:
    """A picker on a clock that the test sets; all servers are past their slow start."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pools = PoolManager()
        self.outliers = Outliers(lambda: self.now)
        self.outliers.add(THREE)
        self.now += SLOW_START_SECONDS
        self.picker = EndpointPicker(self.pools, self.outliers)

    def load(self, **loads: float) -> None:
        for endpoint in THREE:
            self.pools.of(endpoint).load = loads.get(endpoint.name, 0.0)

    def pick(
        self, *endpoints: Endpoint, tried: tuple[Endpoint, ...] = (), strategy: str = "LeastLoad",
        prefix: bytes = b"", rotation: int = 0,
    ) -> str | None:  # fmt: skip
        spec = ModelSpec.model_validate({"model": "m", "routing": {"strategy": strategy}})
        route = Route(spec, endpoints or THREE)
        found = self.picker.pick(route, tried, RequestCost(prefix=prefix), rotation)
        return None if found is None else found.name


@pytest.fixture
def picking() -> Picking:
    return Picking()


def test_the_only_server_is_picked_once_even_if_it_is_ejected(picking: Picking) -> None:
    assert picking.outliers.failed(A, at_once=True)
    assert picking.pick(A) == "a"
    assert picking.pick(A, tried=(A,)) is None


def test_the_least_loaded_of_the_servers_left(picking: Picking) -> None:
    picking.load(a=1, b=2, c=3)
    assert picking.pick() == "a"
    assert picking.pick(tried=(A,)) == "b"
    assert picking.pick(tried=(A, B)) == "c"
    assert picking.pick(tried=THREE) is None


def test_an_ejected_server_is_not_picked_while_others_are_left(picking: Picking) -> None:
    picking.load(b=2, c=3)
    assert picking.outliers.failed(A, at_once=True)
    assert picking.pick() == "b"
    assert picking.pick(tried=(B, C)) == "a"


def test_idle_servers_take_turns(picking: Picking) -> None:
    assert [picking.pick(rotation=turn) for turn in range(4)] == ["a", "b", "c", "a"]


def test_a_new_server_gets_a_small_share_first(picking: Picking) -> None:
    new = Endpoint("new", "10.0.0.9", 8000)
    picking.outliers.add((new, A))
    picking.now += SLOW_START_SECONDS / 2
    # With half a share it counts as (load + 1) / 0.5 - 1.
    picking.load(a=0.9)
    assert picking.pick(A, new) == "a"
    picking.load(a=1.1)
    assert picking.pick(A, new) == "new"
    picking.load(a=3.1)
    picking.pools.of(new).load = 1.0
    assert picking.pick(A, new) == "new"
    picking.load(a=2.9)
    assert picking.pick(A, new) == "a"
    picking.now += SLOW_START_SECONDS / 2
    assert picking.pick(A, new) == "new"


def test_a_prefix_keeps_its_server_only_with_that_strategy(picking: Picking) -> None:
    keys = [b"%d" % number for number in range(50)]
    owners = [picking.pick(strategy="PrefixHash", prefix=key) for key in keys]
    assert set(owners) == {"a", "b", "c"}
    picking.load(a=1, b=2, c=3)  # light loads do not move a prefix
    assert [picking.pick(strategy="PrefixHash", prefix=key) for key in keys] == owners
    assert {picking.pick(prefix=key) for key in keys} == {"a"}
    assert picking.pick(strategy="PrefixHash") == "a"
