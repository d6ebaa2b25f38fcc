"""After all that was sent, sending it again must not need more memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

from integration.fuzz import bodies, wire

ROUNDS = 3
GROWTH_BYTES = 24 * 1024 * 1024
"""In the rounds after the first. A request that stayed would keep its 100 kB body in each."""


@pytest.mark.parametrize("process", ["servers", "router"])
def test_memory_is_flat(fuzzed: Any, process: str) -> None:
    target = "router" if process == "router" else "server"
    dice = random.Random(5)
    large = [
        (fuzzed.port(target, valid["model"]), wire.post(path, body[: dice.randint(0, len(body))]))
        for path, valid in bodies.VALID * 40
        if (body := bodies.encoded(valid | {"x": "y" * 100_000}, True))
    ]
    again = [
        (port, raw) for port, raw in fuzzed.sent if (port == fuzzed.router) == (target == "router")
    ]
    again = [(port, raw) for port, raw in again if b"connection: close" in raw][:200] + large

    def go_round() -> int:
        for port, raw in again:
            wire.exchange(port, raw, leave=True)
        found: int = fuzzed.memory()[process]
        return found

    first = go_round()
    after = [go_round() for _ in range(ROUNDS)]
    assert after[-1] - first < GROWTH_BYTES, (first, after)
