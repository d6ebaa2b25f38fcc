"""Streams that are left early: what was sent is charged."""

from __future__ import annotations

import json
from pathlib import Path

from hostile.attack import Attack
from hostile.caller import Caller
from hostile.target import CHAT, Target, receive
from support.waiting import until

LIMIT = 100
"""Tokens a minute of the key `leaver`."""
PIECES = 10
TURNS = 30
SLACK = 2 * PIECES + 40
"""What is under way when the limit is reached, and the prompts."""


def leave(target: Target, key: str, pieces: int = PIECES) -> int:
    """The pieces of text that were read of a stream before it was left; -1 for a 429."""
    body = json.dumps({
        "model": CHAT, "messages": [{"role": "user", "content": "Tell a long story."}],
        "max_tokens": 64, "stream": True, "stream_options": {"include_usage": True},
    }).encode()  # fmt: skip
    with target.connect() as sock:
        sock.sendall(target.head("/v1/chat/completions", len(body), key=key) + body)
        file = sock.makefile("rb")
        status = int(file.readline().split()[1])
        if status == 429:
            return -1
        assert status == 200, receive(sock)
        read = 0
        for line in file:
            read += line.startswith(b"data: ") and b'"content":"' in line
            if read == pieces:
                break
        return read


def free_rider(target: Target, caller: Caller) -> None:
    """Leave stream after stream: a limit of tokens a minute ends it."""
    key = target.extras["leaver_key"]
    read = 0
    caller.rounds(1, 20)
    for _ in range(TURNS):
        if (pieces := leave(target, key)) < 0:
            break
        read += pieces
    assert read <= LIMIT + SLACK, f"{read} tokens were read under a limit of {LIMIT}"
    log: Path = target.extras["usage_log"]

    def logged() -> int:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return sum(line["completion_tokens"] for line in lines if line["key"] == "leaver")

    until(lambda: logged() >= 0.8 * read, state=logged)


ATTACKS = (Attack("streams that are left early", free_rider, local=True),)
