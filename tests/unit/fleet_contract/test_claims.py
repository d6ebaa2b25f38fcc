"""Who owns a name that several models claim."""

from __future__ import annotations

import itertools

import pytest

from fleet_contract.claims import Claimants, NameClaim, holders, owners, prefixed, read_prefixes

OLD, NEW, NEWEST = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))


def claim(
    name: str, created: str, *ids: str, adapters: tuple[str, ...] = (), space: str = "ns"
) -> NameClaim:
    return NameClaim(created, space, name, ids, adapters)


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
        # Ids and aliases take precedence over the ids of adapters, as in the router.
        ([claim("a", OLD, "x", adapters=("x:p", "x:q", "x:r")), claim("b", NEW, "x:p", "x:q")],
         {"x": "a", "x:p": "b", "x:q": "b", "x:r": "a"}),
        # Ids of another namespace take nothing away from an older model, nor do aliases.
        ([claim("a", OLD, "x", "s", adapters=("x:p", "x:q")),
          claim("b", NEW, "s", "x:p", "t", space="other"),
          claim("c", NEWEST, "x:q", "t", space="third")],
         {"x": "a", "s": "a", "x:p": "a", "x:q": "a", "t": "b"}),
        # In its own namespace an id takes precedence over an alias, also if another namespace
        # claimed it in between.
        ([claim("a", OLD, "x", "s"), claim("b", NEW, "s", space="other"), claim("c", NEWEST, "s")],
         {"x": "a", "s": "c"}),
        # a is not served, but its namespace claimed the alias first.
        ([claim("z", OLD, "x", space="other"), claim("a", NEW, "x", "s"),
          claim("b", NEWEST, "s", space="third")],
         {"x": "z", "s": "a"}),
    ],
)  # fmt: skip
def test_every_name_has_one_owner_in_any_order(
    claims: list[NameClaim], expected: dict[str, str]
) -> None:
    for order in itertools.permutations(claims):
        assert {name: owner.name for name, owner in owners(order, {}).items()} == expected


def test_equal_creation_times_are_ordered_by_namespace_and_name() -> None:
    first, second = NameClaim(OLD, "a", "z", ("x",)), NameClaim(OLD, "b", "a", ("x",))
    assert owners([second, first], {})["x"] is first


def test_only_the_namespace_of_the_longest_prefix_can_have_a_name() -> None:
    prefixes = {"a": "p/", "b": "p/b/", "c": "p/b/"}
    assert [holders(name, prefixes) for name in ("x", "p/x", "p/b/x")] == [[], ["a"], ["b", "c"]]
    first = claim("m", OLD, "p/x", "y", "p/b/z", adapters=("p/x:s",), space="other")
    assert owners([first], prefixes) == {
        "p/x": NameClaim("", "a", "", ("p/x",)),
        "y": first,
        "p/b/z": NameClaim("", "b", "", ("p/b/z",)),
        "p/x:s": NameClaim("", "a", "", ("p/x:s",)),
    }
    own, shared = claim("n", NEW, "p/x", space="a"), claim("o", NEWEST, "p/b/z", space="c")
    found = owners([first, own, shared], prefixes)
    assert (found["p/x"], found["p/b/z"]) == (own, shared)
    claims = Claimants(prefixes)
    claims.put(first)
    assert list(claims.lost(("other", "m"))) == ["p/x", "p/b/z", "p/x:s"]


def test_prefixes() -> None:
    assert read_prefixes("team-a=team-a/, b=b-,") == {"team-a": "team-a/", "b": "b-"}
    assert read_prefixes("") == {}
    for text in ("team-a", "=x", "a=", "a=/x", "a=x y"):
        with pytest.raises(ValueError, match="namespace=prefix"):
            read_prefixes(text)
    assert prefixed(("org/m", "p/x", "p/org/m"), "p/") == ("p/org/m", "p/x")
    assert prefixed(("m",), "") == ("m",)


def test_a_change_affects_all_whose_names_may_change_owner() -> None:
    claims = Claimants({})
    assert claims.put(claim("a", OLD, "x")) == {("ns", "a")}
    assert claims.put(claim("b", NEW, "x", "s")) == {("ns", "a"), ("ns", "b")}
    assert claims.put(claim("c", NEWEST, "y", "s")) == {("ns", name) for name in "abc"}
    assert claims.put(claim("d", NEWEST, "z")) == {("ns", "d")}
    assert claims.put(claim("d", NEWEST, "z")) == set()
    assert claims.release(("ns", "a")) == {("ns", name) for name in "abc"}
    assert claims.release(("ns", "a")) == {("ns", "a")}
    assert claims.get(("ns", "a")) is None


def test_lost_names_have_the_claims_of_their_owners() -> None:
    claims = Claimants({})
    a, b, c = claim("a", OLD, "x"), claim("b", NEW, "x", "s", "t"), claim("c", NEWEST, "y", "s")
    for each in (a, b, c):
        claims.put(each)
    assert claims.lost(("ns", "a")) == {}
    assert claims.lost(("ns", "b")) == {"x": a, "s": c}
    assert claims.lost(("ns", "c")) == {}
    claims.release(("ns", "a"))
    assert (claims.lost(("ns", "b")), claims.lost(("ns", "c"))) == ({}, {"s": b})


@pytest.mark.parametrize("prefixes", [{}, {"team": "team/"}])
def test_an_edit_of_an_older_model_takes_a_name(prefixes: dict[str, str]) -> None:
    """The age is that of the resource, not of the claim. Prefixes prevent it."""
    younger = claim("m", NEW, "team/x", space="team")
    claims = Claimants(prefixes)
    claims.put(claim("old", OLD, "y", space="other"))
    claims.put(younger)
    assert claims.lost(("team", "m")) == {}
    edited = claim("old", OLD, "y", "team/x", space="other")
    claims.put(edited)
    assert claims.lost(("team", "m")) == ({} if prefixes else {"team/x": edited})
    assert claims.lost(("other", "old")) == ({"team/x": younger} if prefixes else {})


def test_a_change_does_not_affect_models_further_away() -> None:
    claims = Claimants({})
    for each in (claim("a", OLD, "x"), claim("b", OLD, "y", "x"), claim("c", OLD, "z", "y")):
        claims.put(each)
    assert claims.put(claim("d", NEW, "u", "z")) == {("ns", name) for name in "bcd"}


def test_names_of_a_model_that_is_gone_stay_claimed_by_others() -> None:
    claims = Claimants({})
    for name in "ab":
        claims.put(claim(name, OLD, "x"))
    claims.release(("ns", "a"))
    assert claims.put(claim("c", NEW, "x")) == {("ns", "b"), ("ns", "c")}
