"""Strategies of the picker in a real router with two stub servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


@pytest.fixture(scope="module")
def pair(
    start_stub: Any, start_router: Any, entry: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with start_stub("acme/two") as one, start_stub("acme/two") as two:
        ports = one.port, two.port
        models = [
            entry("acme/hash", "chat", *ports, routing={"strategy": "PrefixHash"}),
            entry("acme/load", "chat", *ports),
        ]
        with start_router(tmp_path_factory.mktemp("picker"), models) as fleet:
            yield fleet


def conversation(topic: str, turns: int) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": "brief"}, {"role": "user", "content": topic}]
    for turn in range(turns):
        messages += [{"role": "assistant", "content": f"answer {turn}"}]
        messages += [{"role": "user", "content": f"question {turn}"}]
    return messages


def servers(fleet: Any, model: str, *conversations: list[dict[str, str]]) -> list[str]:
    answers = [fleet.chat(model, messages=messages) for messages in conversations]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers["x-modelfleet-endpoint"] for answer in answers]


def test_turns_of_a_conversation_use_the_same_server(pair: Any) -> None:
    owners = set()
    for topic in range(12):
        turns = [conversation(f"topic {topic}", turn) for turn in range(4)]
        seen = set(servers(pair, "acme/hash", *turns))
        assert len(seen) == 1
        owners |= seen
    assert owners == {"hash-0", "hash-1"}


def test_idle_servers_are_used_in_turn(pair: Any) -> None:
    seen = Counter(servers(pair, "acme/load", *[conversation("same", 0)] * 10))
    assert seen == {"load-0": 5, "load-1": 5}


def test_busy_servers_get_fewer_requests(pair: Any) -> None:
    with ThreadPoolExecutor(1) as busy:
        slow = busy.submit(pair.chat, "acme/load", {"delay": 3}, max_tokens=100_000)
        pair.await_metric("modelfleet_router_in_flight", 1, model="acme/load")
        seen = servers(pair, "acme/load", *[conversation("x", 0)] * 10)
        taken = slow.result().headers["x-modelfleet-endpoint"]
    assert set(seen) == {"load-0", "load-1"} - {taken}
