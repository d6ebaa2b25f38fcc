"""Sending all kept requests again does not increase memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

from integration.fuzz import bodies, raw_http

ROUNDS = 3
GROWTH_BYTES = 24 * 1024 * 1024
"""Limit for the rounds after the first. A leaked request would keep 100 kB in each round."""


@pytest.mark.parametrize("process", ["servers", "router"])
def test_memory_is_flat(fuzzed: Any, process: str) -> None:
    target = "router" if process == "router" else "server"
    dice = random.Random(5)
    large = [
        (
            fuzzed.port(target, valid["model"]),
            raw_http.post(path, body[: dice.randint(0, len(body))]),
        )
        for path, valid in bodies.VALID * 40
        if (body := bodies.encoded(valid | {"x": "y" * 100_000}, True))
    ]
    again = [
        (port, raw) for port, raw in fuzzed.sent if (port == fuzzed.router) == (target == "router")
    ]
    again = [(port, raw) for port, raw in again if b"connection: close" in raw][:200] + large

    def send_all() -> int:
        for port, raw in again:
            raw_http.exchange(port, raw, leave=True)
        found: int = fuzzed.memory()[process]
        return found

    first = send_all()
    after = [send_all() for _ in range(ROUNDS)]
    assert after[-1] - first < GROWTH_BYTES, (first, after)
