"""Each attack: others are served as before, and no process ends or grows beyond its bound."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import pytest

from hostile.attack import Attack
from hostile.caller import Caller, Quiet
from hostile.memory import Peaks
from hostile.table import ATTACKS
from hostile.target import Target
from support.required import did_not_run


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_others_are_served_as_before(
    target: Target, quiet: Quiet, attack: Attack, record_property: Callable[[str, object], None]
) -> None:
    processes = {
        name: one for name, one in target.extras.items() if isinstance(one, psutil.Process)
    }
    if attack.local and not processes:
        did_not_run("needs the processes of the fleet; HOSTILE_URL is set")
    seen: list[str] = []
    with Peaks(processes) as peaks, Caller(target, attack.kinds) as caller:
        caller.rounds(1, 60)
        try:
            attack.run(target, caller)
        except AssertionError as wrong:
            seen = [f"the attacker: {wrong}"]
    worst = {kind.__name__: caller.worst(kind) for kind in attack.kinds}
    record_property("worst", worst)
    record_property("growth", peaks.growth)
    if "HOSTILE_FIGURES" in os.environ:
        print(f"\n{attack.name}: {worst} {peaks.growth} MiB")
    found = seen + caller.complaints(quiet, attack.step) + peaks.complaints(attack.mib)
    assert not found, "\n".join(found)
