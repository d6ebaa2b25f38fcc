"""Attacks of tests/hostile on the release: others are served as before, and no pod restarts."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator

import pytest

from harness.api import Json
from harness.fleet import CHAT, MODELS, OPERATORS, ROUTERS, Fleet, names, of_model
from hostile import caller
from hostile.attack import Attack
from hostile.caller import Caller, Quiet
from hostile.table import ON_A_NODE
from hostile.target import Target

LABELS = (ROUTERS, OPERATORS, *(of_model(name) for name in MODELS))


@pytest.fixture(scope="module")
def target(fleet: Fleet) -> Iterator[Target]:
    """The routers' Service, with a key for the caller and one for the attacker."""
    keys = {name: secrets.token_hex(16) for name in ("caller", "attacker")}
    hashes = [
        {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest()}
        for name, key in keys.items()
    ]
    before = names(fleet.pods(ROUTERS))
    fleet.upgrade({"apiKeys.keys": hashes})
    fleet.settled(ROUTERS, 2, without=before)
    guarded = names(fleet.pods(ROUTERS))
    yield Target(fleet.url, keys["caller"], keys["attacker"])
    fleet.rollback()
    fleet.settled(ROUTERS, 2, without=guarded)


@pytest.fixture(scope="module")
def quiet(target: Target) -> Quiet:
    return caller.quiet(target)


@pytest.mark.parametrize("attack", ON_A_NODE, ids=lambda attack: attack.name)
def test_others_are_served_and_no_pod_restarts(
    fleet: Fleet, target: Target, quiet: Quiet, attack: Attack
) -> None:
    before = restarts(fleet)
    with Caller(target, attack.kinds) as other:
        other.rounds(1, 60)
        attack.run(target, other)
    assert other.complaints(quiet, attack.step) == []
    assert restarts(fleet) == before
    assert CHAT in target.get("/v1/models").body.decode()


def restarts(fleet: Fleet) -> dict[str, int]:
    """How often the containers of each pod were restarted."""
    pods: list[Json] = [pod for label in LABELS for pod in fleet.pods(label)]
    return {
        pod["metadata"]["name"]: sum(
            one["restartCount"] for one in pod["status"]["containerStatuses"]
        )
        for pod in pods
    }
