"""The cache of the cluster, and which models a change affects."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fleet_operator.controller.cache import ClusterCache
from fleet_operator.decide.observed import Ref, Rival
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from fleet_operator.shard import Shard
from fleet_router.kube.objects import read_model
from support.operator_objects import model, pod, settings_of
from support.route_tables import build

KEY = ("ns", "m")


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=True)


def at(raw: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], **meta}}


def child(name: str = "m", owner: str | None = "uid-m", label: str | None = "m") -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "ns", "uid": f"uid-{name}-child",
                            "resourceVersion": "3"}  # fmt: skip
    if label:
        meta["labels"] = {"modelfleet.dev/inferencemodel": label}
    if owner:
        meta["ownerReferences"] = [
            {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "InferenceModel", "name": "m",
             "uid": owner, "controller": True}
        ]  # fmt: skip
    return {"metadata": meta, "spec": {}}


def rival(cache: ClusterCache, name: str = "m") -> Rival | None:
    observed = cache.observe(("ns", name))
    assert observed is not None
    return observed.rival


def lost(cache: ClusterCache, name: str = "m") -> tuple[Rival, ...]:
    observed = cache.observe(("ns", name))
    assert observed is not None
    return observed.lost


def test_a_model_and_its_children(cache: ClusterCache) -> None:
    assert set(cache.put_model(model())) == {KEY}
    assert set(cache.put_child("Service", child())) == {KEY}
    observed = cache.observe(KEY)
    assert observed is not None
    assert set(observed.children) == {Ref("Service", "m")}
    assert observed.foreign == frozenset()
    assert set(cache.drop_child("Service", child())) == {KEY}
    assert set(cache.drop_model(model())) == set()
    assert cache.observe(KEY) is None


def test_known_versions_queue_nothing(cache: ClusterCache) -> None:
    cache.put_model(at(model(), resourceVersion="7"))
    assert set(cache.put_model(at(model(), resourceVersion="7"))) == set()
    assert set(cache.put_model(at(model(), resourceVersion="6"))) == set()
    assert set(cache.put_model(at(model(), resourceVersion="10"))) == {KEY}
    assert cache.models[KEY]["metadata"]["resourceVersion"] == "10"
    made_again = at(model(uid="new"), resourceVersion="3")
    assert set(cache.put_model(made_again)) == {KEY}


def test_managed_fields_are_not_kept(cache: ClusterCache) -> None:
    cache.put_model(at(model(), managedFields=[{"manager": "x"}]))
    assert "managedFields" not in cache.models[KEY]["metadata"]


def test_a_late_delete_event_does_not_remove_the_successor(cache: ClusterCache) -> None:
    cache.put_model(model(uid="new"))
    assert set(cache.drop_model(model(uid="old"))) == set()
    assert KEY in cache.models


def test_older_claims_win_and_later_ones_follow(cache: ClusterCache) -> None:
    cache.put_model(at(model("b", "uid-b", model="x/y", aliases=["short"]),
                       creationTimestamp="2026-01-01T10:00:00Z"))  # fmt: skip
    concerned = cache.put_model(model("m", model="org/m", aliases=["short"]))
    assert set(concerned) == {KEY, ("ns", "b")}
    assert (lost(cache), lost(cache, "b")) == ((Rival("b", "short", "ns"),), ())
    gone = cache.drop_model(cache.models["ns", "b"])
    assert set(gone) == {KEY}
    assert lost(cache) == ()


def test_an_id_has_one_owner_in_all_namespaces(cache: ClusterCache) -> None:
    """The router serves all of them under one address."""
    cache.put_model(model())
    younger = at(model("m", "uid-e"), namespace="elsewhere",
                 creationTimestamp="2026-01-01T11:30:00Z")  # fmt: skip
    assert set(cache.put_model(younger)) == {KEY, ("elsewhere", "m")}
    observed = cache.observe(("elsewhere", "m"))
    assert observed is not None
    assert (rival(cache), observed.rival) == (None, Rival("m", "org/m", "ns"))
    assert set(cache.drop_model(cache.models[KEY])) == {("elsewhere", "m")}
    observed = cache.observe(("elsewhere", "m"))
    assert observed is not None
    assert observed.rival is None


def test_an_id_comes_before_an_older_alias(cache: ClusterCache) -> None:
    cache.put_model(at(model("b", "uid-b", model="x/y", aliases=["org/m"]),
                       creationTimestamp="2026-01-01T10:00:00Z"))  # fmt: skip
    cache.put_model(model("m", model="org/m"))
    assert (rival(cache), lost(cache, "b")) == (None, (Rival("m", "org/m", "ns"),))


def test_an_id_comes_before_that_of_an_adapter(cache: ClusterCache) -> None:
    """As in the router; the model of the adapter reports it."""
    adapters = [{"name": "sql", "source": "file:///sql"}]
    cache.put_model(model("a", "uid-a", model="x/a", adapters=adapters))
    assert lost(cache, "a") == ()
    assert set(cache.put_model(model("b", "uid-b", model="x/a:sql"))) == {("ns", "a"), ("ns", "b")}
    assert (rival(cache, "b"), lost(cache, "a")) == (None, (Rival("b", "x/a:sql", "ns"),))


def test_equal_creation_times_are_ordered_by_name(cache: ClusterCache) -> None:
    cache.put_model(model("b", "uid-1"))
    cache.put_model(model("a", "uid-2"))
    assert (rival(cache, "a"), rival(cache, "b")) == (None, Rival("a", "org/m", "ns"))


def test_a_released_alias_passes_to_the_next_model(cache: ClusterCache) -> None:
    cache.put_model(model("a", "uid-a", aliases=["short"], model="x/a"))
    cache.put_model(model("b", "uid-b", aliases=["short"], model="x/b"))
    assert lost(cache, "b") == (Rival("a", "short", "ns"),)
    changed = at(model("a", "uid-a", model="x/a"), generation=3, resourceVersion="6")
    assert set(cache.put_model(changed)) == {("ns", "a"), ("ns", "b")}
    assert lost(cache, "b") == ()


def test_a_model_that_is_not_served_keeps_no_alias_of_one_that_is(cache: ClusterCache) -> None:
    cache.put_model(model("a", "uid-a", model="x/a"))
    cache.put_model(model("b", "uid-b", model="x/b", aliases=["short"]))
    cache.put_model(model("c", "uid-c", model="x/c", aliases=["short"]))
    assert lost(cache, "c") == (Rival("b", "short", "ns"),)
    changed = at(model("b", "uid-b", model="x/a", aliases=["short"]), generation=3,
                 resourceVersion="6")  # fmt: skip
    assert set(cache.put_model(changed)) == {("ns", name) for name in "abc"}
    assert (rival(cache, "b"), lost(cache, "b")) == (
        Rival("a", "x/a", "ns"),
        (Rival("c", "short", "ns"),),
    )
    assert lost(cache, "c") == ()
    assert set(cache.drop_model(cache.models["ns", "a"])) == {("ns", "b"), ("ns", "c")}
    assert (rival(cache, "b"), lost(cache, "c")) == (None, (Rival("b", "short", "ns"),))


def test_operator_and_router_agree_on_the_owner_of_every_name(cache: ClusterCache) -> None:
    chance = random.Random(7)
    for version in range(1, 300):
        key = chance.choice(("ns", "other")), chance.choice("abcde")
        own, *aliases = chance.sample("uvwxyz", 3)
        known = cache.models.get(key)
        if known is not None and chance.random() < 0.2:
            cache.drop_model(known)
            continue
        created = f"2026-01-01T10:00:0{chance.randrange(3)}Z"
        changed = {"resourceVersion": str(version), "generation": version}
        if known is None:
            changed["creationTimestamp"] = created
            changed["uid"] = f"uid-{version}"
            changed["namespace"] = key[0]
        raw = known or model(key[1])
        cache.put_model(at({**raw, "spec": {"model": own, "aliases": aliases}}, **changed))
        routes = build((read_model(raw, {}, {}) for raw in cache.models.values()), (), {})
        for identifier, route in routes.by_id.items():
            assert route.origin is not None
            owner = (route.origin.namespace, route.origin.name)
            for claimant, raw in cache.models.items():
                if identifier not in (raw["spec"]["model"], *raw["spec"]["aliases"]):
                    continue
                observed = cache.observe(claimant)
                assert observed is not None
                known_rivals = (observed.rival, *observed.lost)
                expected = None if claimant == owner else Rival(owner[1], identifier, owner[0])
                found = [one for one in known_rivals if one and one.identifier == identifier]
                assert found == ([expected] if expected else []), (identifier, cache.models)


@pytest.mark.parametrize(
    ("raw", "foreign"),
    [
        (child(label=None, owner=None), True),
        (child(owner="uid-of-another"), True),
        (child(owner=None), False),  # left behind by `--cascade=orphan`: adopted
        (child(), False),
    ],
)
def test_names_that_are_taken(cache: ClusterCache, raw: dict[str, Any], foreign: bool) -> None:
    cache.put_model(model())
    cache.put_child("Deployment", raw)
    observed = cache.observe(KEY)
    assert observed is not None
    assert (Ref("Deployment", "m") in observed.foreign) is foreign


def test_a_label_that_was_taken_away_is_noticed_and_the_child_kept(cache: ClusterCache) -> None:
    cache.put_model(model())
    cache.put_child("Service", child())
    stripped = child(label=None)
    stripped["metadata"]["resourceVersion"] = "4"
    assert set(cache.put_child("Service", stripped)) == {KEY}
    observed = cache.observe(KEY)
    assert observed is not None
    assert observed.children == {Ref("Service", "m"): stripped}
    assert set(cache.drop_child("Service", stripped)) == {KEY}


def test_prefixes_keep_the_ids_of_namespaces_apart(sources: Sources) -> None:
    cache = ClusterCache(
        settings_of(ID_PREFIXES="team-a=team-a/"), Resolver(sources), sees_nodes=False
    )
    cache.put_model(model())
    cache.put_model(at(model(uid="uid-a"), namespace="team-a"))
    prefixed = cache.observe(("team-a", "m"))
    assert prefixed is not None
    assert (rival(cache), prefixed.rival) == (None, None)
    older = {"namespace": "zzz", "creationTimestamp": "2020-01-01T10:00:00Z"}
    cache.put_model(at(model("x", "uid-x", model="team-a/org/m", aliases=["team-a/n"]), **older))
    squatter = cache.observe(("zzz", "x"))
    assert squatter is not None
    assert squatter.rival == Rival("m", "team-a/org/m", "team-a")
    assert squatter.lost == (Rival("", "team-a/n", "team-a"),)


def test_other_shards_models_only_claim_names_and_use_capacity(sources: Sources) -> None:
    shard = next(f"{i}/2" for i in range(2) if Shard.parse(f"{i}/2").owns("ns"))
    cache = ClusterCache(settings_of(SHARD=shard), Resolver(sources), sees_nodes=True)
    theirs = next(name for name in map(str, range(99)) if not Shard.parse(shard).owns(name))
    older = at(model(uid="uid-o"), namespace=theirs, creationTimestamp="2026-01-01T10:00:00Z")
    cache.put_model(older)
    cache.put_model(model())
    assert set(cache.models) == {KEY}
    assert rival(cache) == Rival("m", "org/m", theirs)
    assert cache.seen("InferenceModel") == {"uid-o", "uid-m"}
    cache.put_child("Service", at(child(), namespace=theirs))
    cache.put_pod(at(pod(requests={"cpu": "2"}), namespace=theirs))
    assert (cache.seen("Service"), cache.model_pods((theirs, "m"))) == (set(), [])
    observed = cache.observe(KEY)
    assert observed is not None
    assert observed.cluster is not None
    assert observed.cluster.used["node-a"]["cpu"] == 2000
    assert set(cache.drop_model(older)) == {KEY}
    assert rival(cache) is None


def test_requests_of_pods_are_summed_by_node(cache: ClusterCache) -> None:
    cache.put_model(model())
    mine = pod("m-1", requests={"cpu": "2"})
    assert set(cache.put_pod(mine)) == {KEY}
    stranger = pod("x", requests={"cpu": "500m"}, labels={"modelfleet.dev/inferencemodel": ""})
    assert set(cache.put_pod(stranger)) == set()
    observed = cache.observe(KEY)
    assert observed is not None
    assert observed.cluster is not None
    assert observed.cluster.used["node-a"]["cpu"] == 2500
    assert observed.cluster.used["node-a"]["pods"] == 2000
    cache.put_pod({**mine, "status": {**mine["status"], "phase": "Succeeded"}})
    assert observed.cluster.used["node-a"]["cpu"] == 500
    cache.drop_pod(stranger)
    assert observed.cluster.used["node-a"] == {}


def test_without_the_right_to_list_nodes_there_is_no_cluster(
    settings: OperatorSettings, sources: Sources
) -> None:
    cache = ClusterCache(settings, Resolver(sources), sees_nodes=False)
    cache.put_model(model())
    observed = cache.observe(KEY)
    assert observed is not None
    assert observed.cluster is None


def test_versions_are_those_of_models_own_objects(cache: ClusterCache) -> None:
    cache.put_model(model())
    cache.put_child("Service", child())
    cache.put_child("Service", child("other", label=None))
    cache.put_pod(pod())
    assert cache.versions("InferenceModel") == {"uid-m": "5"}
    assert cache.versions("Service") == {"uid-m-child": "3"}
    assert cache.versions("Pod") == {"uid-m-1": "9"}
    for kind, uid, keys in (
        ("Service", "uid-m-child", {KEY}),
        ("Service", "uid-other-child", {("ns", "other")}),
        ("Pod", "uid-m-1", {KEY}),
        ("InferenceModel", "uid-m", set()),
    ):
        assert uid in cache.seen(kind)
        assert set(cache.drop(kind, uid)) == keys
        assert uid not in cache.seen(kind)
        assert set(cache.drop(kind, uid)) == set()


def test_changes_of_replicas_by_others_are_noted(cache: ClusterCache) -> None:
    own = {"manager": "modelfleet-operator", "operation": "Apply"}
    other = {
        "manager": "hpa",
        "operation": "Update",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    cache.put_model(model())
    for version, (replicas, managers) in enumerate(
        [(1, [own]), (5, [own, other]), (5, [own, other]), (1, [own]), (4, [own, other])]
    ):
        raw = at(child(), resourceVersion=str(version), managedFields=managers)
        cache.put_child("Deployment", {**raw, "spec": {"replicas": replicas}})
    observed = cache.observe(("ns", "m"))
    assert observed is not None
    assert [(one.kind, one.manager) for one in observed.replica_writes] == [
        ("Deployment", "hpa"), ("Deployment", "hpa")
    ]  # fmt: skip
    raw = at(model(replicas=3), resourceVersion="6", managedFields=[other])
    cache.put_model(raw)
    observed = cache.observe(("ns", "m"))
    assert observed is not None
    assert observed.replica_writes[-1].kind == "InferenceModel"
    cache.drop_model(raw)
    cache.put_model(raw)
    observed = cache.observe(("ns", "m"))
    assert observed is not None
    assert observed.replica_writes == ()
