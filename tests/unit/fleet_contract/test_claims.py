"""Who owns a name that several models claim."""

from __future__ import annotations

import itertools

import pytest

from fleet_contract.claims import Claim, owners, prefixed, read_prefixes

OLD, NEW, NEWEST = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))


def claim(name: str, created: str, *ids: str) -> Claim:
    return Claim(created, "ns", name, ids)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], {}),
        ([claim("a", OLD, "x", "s"), claim("b", NEW, "y", "t")],
         {"x": "a", "s": "a", "y": "b", "t": "b"}),
        ([claim("a", NEW, "x"), claim("b", OLD, "x")], {"x": "b"}),
        ([claim("b", OLD, "x"), claim("a", OLD, "x")], {"x": "a"}),
        ([claim("a", OLD, "x", "y"), claim("b", NEW, "y")], {"x": "a", "y": "b"}),
        ([claim("a", NEW, "x", "s"), claim("b", OLD, "y", "s")], {"x": "a", "y": "b", "s": "b"}),
        # b is not served: a younger model that is served owns the alias of both.
        ([claim("a", OLD, "x"), claim("b", NEW, "x", "s", "t"), claim("c", NEWEST, "y", "s")],
         {"x": "a", "y": "c", "s": "c", "t": "b"}),
    ],
)  # fmt: skip
def test_every_name_has_one_owner_in_any_order(
    claims: list[Claim], expected: dict[str, str]
) -> None:
    for order in itertools.permutations(claims):
        assert {name: owner.name for name, owner in owners(order).items()} == expected


def test_equal_creation_times_are_ordered_by_namespace_and_name() -> None:
    first, second = Claim(OLD, "a", "z", ("x",)), Claim(OLD, "b", "a", ("x",))
    assert owners([second, first])["x"] is first


def test_prefixes() -> None:
    assert read_prefixes("team-a=team-a/, b=b-,") == {"team-a": "team-a/", "b": "b-"}
    assert read_prefixes("") == {}
    for text in ("team-a", "=x", "a=", "a=/x", "a=x y"):
        with pytest.raises(ValueError, match="namespace=prefix"):
            read_prefixes(text)
    assert prefixed(("org/m", "p/x", "p/org/m"), "p/") == ("p/org/m", "p/x")
    assert prefixed(("m",), "") == ("m",)
