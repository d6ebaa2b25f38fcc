"""Shards of the namespaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.shard import Shard, placements, suffix_of

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


def test_a_label_takes_precedence_over_the_hash() -> None:
    placed = {name: number % 3 for number, name in enumerate(NAMESPACES[:100])}
    shards = [replace(Shard.parse(f"{index}/3"), placed=placed) for index in range(3)]
    for namespace in NAMESPACES:
        (owner,) = [shard for shard in shards if shard.owns(namespace)]
        expected = placed.get(namespace)
        assert expected in (owner.index, None)
    assert all(replace(Shard(), placed={"team-0": 1}).owns(name) for name in NAMESPACES)


def namespace(name: str, shard: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        **({"labels": {"modelfleet.dev/shard": shard}} if shard is not None else {}),
    }


def test_labels_of_namespaces() -> None:
    bad = {
        "two": "2",
        "word": "one",
        "none": "",
        "sign": "-1",
        "zeros": "01",
        "digit": "\N{ARABIC-INDIC DIGIT ONE}",
    }
    found = placements(
        [namespace("a", "0"), namespace("b", "1"), namespace("c"), {"name": "d", "labels": None},
         *(namespace(name, value) for name, value in bad.items())],
        total=2,
    )  # fmt: skip
    assert found == ({"a": 0, "b": 1}, bad)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("fleet", ""), ("fleet-0-of-2", "-0-of-2"), ("fleet-11-of-12", "-11-of-12"),
     ("fleet-b", None), ("other", None), ("fleet-0-of-2-x", None), ("", None)],
)  # fmt: skip
def test_suffixes_of_shards(name: str, suffix: str | None) -> None:
    assert suffix_of(name, "fleet") == suffix
