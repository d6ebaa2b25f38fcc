"""Simple Inference Server's recommended settings for a single GPU, compared with the defaults.

Two servers of the same embedding model are measured in turns in short rounds: one with these
settings, one without. Requests with one input from 1, 8 and 32 clients, and with 32 inputs.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import stack
from in_process import Measure, embeddings_through, medians

RECIPE = {
    "MAX_CONCURRENT": "1", "BATCH_WINDOW_MS": "5", "BATCH_WINDOW_MAX_SIZE": "16",
    "MAX_QUEUE_SIZE": "128",
}  # fmt: skip
LOADS = (
    ("1 input, 1 client", 1, 1, 96),
    ("1 input, 4 clients", 1, 4, 192),
    ("1 input, 8 clients", 1, 8, 256),
    ("1 input, 16 clients", 1, 16, 384),
    ("1 input, 32 clients", 1, 32, 384),
    ("32 inputs, 4 clients", 32, 4, 512),
)
"""Name, inputs of a request, clients, inputs in total."""


def rows(rounds: int, device: str) -> list[list[Any]]:
    spec = stack.spec_of(stack.EMBEDDING, device=device)
    found = []
    with stack.server(spec) as plain, stack.server(spec, RECIPE) as tuned:
        for name, batch, clients, number in LOADS:
            levels: list[Measure] = [
                partial(embeddings_through, url, batch, number, clients) for url in (plain, tuned)
            ]
            default, recipe = medians(levels, rounds)
            found.append([name, default, recipe, f"{recipe / default:.2f}"])
    return found


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=9)
    parse.add_argument("--device", default="auto")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    columns = ["embeddings, inputs/s", "defaults", "recipe", "recipe / defaults"]
    title = " ".join(f"{name}={value}" for name, value in RECIPE.items())
    stack.show(title, columns, rows(options.rounds, options.device), as_json=options.json)


if __name__ == "__main__":
    main()
