"""Speed of chats with and without prompt lookup, for summaries that repeat parts of a prompt.

One server of SmolLM2 with `speculative.promptLookup` and one without, in turns in short rounds, by
number of concurrent chats. The ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

import lean
import orjson
import stack
from in_process import tokens_of

from fleet_bench.words import text
from fleet_contract.spec_parts import Speculative

AT_ONCE = (1, 4, 16)
WORDS = 120
SETTINGS = {"HEARTBEAT_SECONDS": "0"}
"""No comments in streams, which `tokens_of` does not read."""


def bodies(first: int, number: int) -> Iterator[bytes]:
    """Distinct requests to repeat the sentences of a text."""
    for at in range(first, first + number):
        sentences = f"{text(at, WORDS)}. The ferry {at} keeps running until the bridge opens."
        question = f"Repeat the important sentences of this text, word by word: {sentences}"
        yield orjson.dumps({
            "model": stack.CHAT, "messages": [{"role": "user", "content": question}],
            "max_tokens": stack.NEW_TOKENS, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True},
        })  # fmt: skip


def rate(url: str, at_once: int, first: int, number: int) -> float:
    """Tokens per second."""
    found = lean.exchange(url, "/v1/chat/completions", bodies(first, number), at_once)
    return sum(map(tokens_of, found.answers)) / found.seconds


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--each", type=int, default=2, help="requests of each client in a round")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    plain = stack.spec_of(stack.CHAT)
    guessing = stack.spec_of(stack.CHAT, speculative=Speculative(prompt_lookup=True))
    rows: list[list[Any]] = []
    with stack.server(plain, SETTINGS) as first, stack.server(guessing, SETTINGS) as second:
        number = 0
        for at_once in AT_ONCE:
            rates: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.rounds + 1):
                for url, measured in zip((first, second), rates, strict=True):
                    measured.append(rate(url, at_once, number, at_once * options.each))
                number += at_once * options.each
            without, with_it = (statistics.median(each[1:]) for each in rates)
            rows.append([at_once, without, with_it, with_it / without])
    columns = ["at once", "tokens/s without", "with prompt lookup", "ratio"]
    stack.show("Prompt lookup", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
