"""The fleet as a whole, last: its files, its logs and a second fleet on its port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from hostile import caller
from hostile.caller import Quiet
from hostile.fleet import KEYS, keys_file
from hostile.target import CHAT, EMBEDDING, Target
from support.local_fleet import Fleet, running_fleet
from support.ports import free_port
from support.waiting import until

FORGED = "%0d%0aforged%20line%1b%5b31m%e2%80%ae"
DEEP = "[" * 100_000
REFUSED_KEYS = "keys_not_reloaded"


def test_a_path_forges_no_line_in_the_log(target: Target, fleet: Fleet) -> None:
    for path in (f"/v1/{FORGED}", f"/v1/models/{FORGED}", f"/{FORGED}?{FORGED}"):
        assert target.get(path, x_request_id="last-of-all").status in (400, 404)
    until(lambda: "last-of-all" in fleet.output)
    lines = fleet.output.splitlines()
    forged = [line for line in lines if line.split("| ")[-1].startswith("forged")]
    assert forged == []
    assert [line for line in lines if "\x1b" in line or "\u202e" in line] == []


def test_no_attack_left_a_traceback(quiet: Quiet, fleet: Fleet) -> None:
    lines = fleet.output.splitlines()
    begins = [number for number, line in enumerate(lines) if "Traceback" in line]
    assert [lines[number : number + 30] for number in begins[:3]] == []


def test_no_connection_is_left(quiet: Quiet, target: Target, fleet: Fleet) -> None:
    router: psutil.Process = target.extras["router"]

    def open_connections() -> int:
        return sum(one.status == "ESTABLISHED" for one in router.net_connections(kind="tcp"))

    until(lambda: open_connections() < 40, state=open_connections)


@pytest.mark.parametrize("broken", [DEEP, "{a: " * 20_000, "keys: [" * 5000, "keys: &a [*a]"])
def test_broken_keys_do_not_end_the_watch_of_the_file(
    target: Target, fleet: Fleet, broken: str
) -> None:
    """The next change of the file counts: a key is revoked, and given back."""
    path: Path = target.extras["keys_file"]

    def status() -> int:
        return target.get("/v1/models", key=KEYS["narrow"]).status

    seen = fleet.output.count(REFUSED_KEYS)
    path.write_text(broken)
    until(lambda: fleet.output.count(REFUSED_KEYS) > seen)
    path.write_text(keys_file([name for name in KEYS if name != "narrow"]))
    until(lambda: status() == 401)
    path.write_text(keys_file(list(KEYS)))
    until(lambda: status() == 200)


def test_of_two_fleets_on_one_port_one_serves(
    demo_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    """Both are started at the same time; the other ends with an error, and is missed by nobody."""
    models, port = demo_weights(CHAT).parent, free_port()
    with ExitStack() as stack:
        fleets = [
            stack.enter_context(running_fleet(models, tmp_path, "--models", EMBEDDING, port=port))
            for _ in range(2)
        ]
        until(lambda: any(fleet.process.poll() is not None for fleet in fleets))
        ended = [fleet for fleet in fleets if fleet.process.poll() is not None]
        assert [fleet.process.returncode != 0 for fleet in ended] == [True], [
            fleet.output for fleet in fleets
        ]
        (left,) = [fleet for fleet in fleets if fleet not in ended]
        left.wait_for("The fleet is ready at", 180)
        target = Target(left.base_url, "", "")
        probe = caller.ask(target, caller.embeddings)
        assert not probe.failure, probe


def test_a_fleet_on_a_port_that_is_taken_ends_at_once(
    fleet: Fleet, quiet: Quiet, target: Target, demo_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    with running_fleet(
        demo_weights(CHAT).parent, tmp_path, "--models", EMBEDDING, port=fleet.port
    ) as other:
        assert other.process.wait(180) != 0
    assert not caller.ask(target, caller.chat).failure
