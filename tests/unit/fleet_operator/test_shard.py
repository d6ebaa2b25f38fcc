"""Shards of the namespaces."""

from __future__ import annotations

import pytest

from fleet_operator.shard import Shard

NAMESPACES = [f"team-{number}" for number in range(200)]


def test_every_namespace_has_one_shard() -> None:
    shards = [Shard.parse(f"{index}/3") for index in range(3)]
    for namespace in NAMESPACES:
        assert sum(shard.owns(namespace) for shard in shards) == 1
    for shard in shards:
        assert 40 < sum(map(shard.owns, NAMESPACES)) < 95


def test_without_shards_everything_is_owned() -> None:
    assert Shard.parse("") == Shard(0, 1)
    assert all(map(Shard.parse("").owns, NAMESPACES))
    assert (Shard().suffix, Shard(1, 2).suffix) == ("", "-1-of-2")


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "/2", "0/0", "a/b", "0/2000"])
def test_invalid_shards(text: str) -> None:
    with pytest.raises(ValueError, match="SHARD="):
        Shard.parse(text)
