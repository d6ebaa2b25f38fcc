"""Speed of chats with and without guesses, for summaries that repeat parts of a prompt.

Servers of SmolLM2 with and without `speculative.promptLookup`, in turns in short rounds, by number
of concurrent chats. `--draft` measures a draft model as well: SmolLM2 for a model of 120 layers
that has its texts (deepened.py), so that nearly every guess is right: the largest gain of a draft
model of a quarter of the size, which takes about ten minutes at 1 and 4 on two cores. Ratios are
those of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lean
import orjson
import stack
from in_process import tokens_of

from fleet_bench.words import text
from fleet_contract.spec import Engine, ModelSpec

WORDS = 120
LAYERS = 120
"""Four times those of SmolLM2."""
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


def specs(engine: Engine, *, draft: bool, folder: Path) -> dict[str, ModelSpec]:
    """Models by name; with `draft` those of 120 layers."""
    small = stack.spec_of(stack.CHAT)
    fields: dict[str, Any] = small.to_wire() | {"engine": engine.value, "contextLength": 2048}
    ways: dict[str, Any] = {"plain": {}, "prompt lookup": {"promptLookup": True}}
    if draft:
        from deepened import write

        (source,) = stack.weights(small).glob("*.gguf")
        deep = write(source, folder / "deep.gguf", LAYERS)
        del fields["sha256"]
        fields["source"] = f"file://{deep}"
        ways["draft model"] = {"draft": {"source": f"file://{source}"}}
    return {
        name: ModelSpec.model_validate(fields | {"speculative": guesses})
        for name, guesses in ways.items()
    }


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--engine", type=Engine, default=Engine.OPENVINO, help="or llamacpp")
    parse.add_argument("--draft", action="store_true", help="with a draft model (llamacpp)")
    parse.add_argument("--levels", help="chats at once: 1,4,16 by default, 1,4 with a draft model")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--each", type=int, default=2, help="requests of each client in a round")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        wanted = specs(options.engine, draft=options.draft, folder=Path(folder))
        urls = {
            name: started.enter_context(stack.server(spec, SETTINGS))
            for name, spec in wanted.items()
        }
        number = 0
        levels = options.levels or ("1,4" if options.draft else "1,4,16")
        for at_once in map(int, levels.split(",")):
            rates: dict[str, list[float]] = {name: [] for name in urls}
            for _ in range(options.rounds + 1):
                for name, url in urls.items():
                    rates[name].append(rate(url, at_once, number, at_once * options.each))
                number += at_once * options.each
            medians = [statistics.median(each[1:]) for each in rates.values()]
            ratios = [each / medians[0] for each in medians[1:]]
            rows.append([at_once, *medians, *ratios])
    columns = ["at once", *urls, *(f"{name}, ratio" for name in list(urls)[1:])]
    title = f"Speculative decoding, {options.engine.value}, tokens/s"
    stack.show(title, columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
