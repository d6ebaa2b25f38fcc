"""Claims that one node, or one pod, can mount at a time."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.resources.volume_access import Pinned, limit_replicas, modes_of, pinned

RWO = frozenset({"ReadWriteOnce"})


def mounting(*claims: str) -> dict[str, Any]:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {"volumes": [{"name": "tmp", "emptyDir": {}}, *volumes]}


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        ({"ReadWriteOnce"}, Pinned("c", to_one_pod=False)),
        ({"ReadWriteOncePod"}, Pinned("c", to_one_pod=True)),
        ({"ReadWriteMany"}, None),
        ({"ReadOnlyMany"}, None),
        ({"ReadWriteOnce", "ReadWriteMany"}, None),
        (set(), None),
    ],
)
def test_pinned(modes: set[str], found: Pinned | None) -> None:
    assert pinned(mounting("c"), {"c": frozenset(modes)}) == found


def test_the_strictest_of_several_counts() -> None:
    modes = {"a": RWO, "b": frozenset({"ReadWriteOncePod"})}
    assert pinned(mounting("a", "b", "unknown"), modes) == Pinned("b", to_one_pod=True)
    assert pinned({}, modes) is None


def test_the_modes_of_the_volume_count_once_it_is_bound() -> None:
    claim = {"spec": {"accessModes": ["ReadWriteOnce"]}}
    assert modes_of(claim) == RWO
    assert modes_of({**claim, "status": {"accessModes": ["ReadWriteMany"]}}) == {"ReadWriteMany"}
    assert modes_of({}) == frozenset()


@pytest.mark.parametrize(
    ("wanted", "ready", "allowed"),
    [(0, 0, None), (1, 0, None), (2, 0, 1), (3, 2, 2), (3, 3, None), (5, 9, None)],
)
def test_limit_replicas(wanted: int, ready: int, allowed: int | None) -> None:
    limit = limit_replicas(Pinned("c", to_one_pod=False), wanted, ready)
    assert (limit.replicas if limit is not None else None) == allowed
    if limit is not None:
        assert f"{wanted} servers are wanted" in limit.problem.message
        assert "claim c is ReadWriteOnce" in limit.problem.message
