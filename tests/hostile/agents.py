"""Formats and parameters of agents that cost most to prepare or apply, many at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hostile.attack import TAKEN, Attack, at_once, expect
from hostile.caller import Caller
from hostile.schemas import text
from hostile.target import CHAT, Target

TOKENS = 8
CHAT_PATH = "/v1/chat/completions"
ASK = [{"role": "user", "content": "Fill in the form."}]
LOOP = {
    "$ref": "#/$defs/a",
    "$defs": {"a": {"anyOf": [text(), {"type": "array", "items": {"$ref": "#/$defs/a"}}]}},
}
"""A schema that refers to itself."""
Request = tuple[str, Mapping[str, Any]]


def chat(**fields: Any) -> Request:
    """A chat with these fields."""
    return CHAT_PATH, {"messages": ASK, "max_tokens": TOKENS, "temperature": 0, **fields}


def forced(levels: int) -> str:
    """A grammar of one letter and then `4 ** levels` more that must follow."""
    rules = [f"a{n}: a{n + 1} a{n + 1} a{n + 1} a{n + 1}" for n in range(levels)]
    return "\n".join(["start: /[bc]/ a0", *rules, f'a{levels}: "a"'])


def with_formats() -> Sequence[Request]:
    """Grammars and patterns that grow when they are compiled or followed."""
    chain = [f'a{n}: "x" a{n + 1} "y"' for n in range(900)]
    tag = {"begin": "<f>", "schema": LOOP, "end": "</f>"}
    return (
        chat(grammar='root ::= root root | "a"\n'),
        chat(grammar="\n".join(["start: a0", *chain, 'a900: "a"'])),
        chat(grammar=forced(7)),
        chat(grammar="root ::= " + " ".join('"a"?' for _ in range(6000)) + "\n"),
        chat(structured_outputs={"regex": "(a?){500}a{500}"}),
        chat(structured_outputs={"regex": "(" * 4900 + "a" + ")" * 4900}),
        chat(structured_outputs={"choice": [f"c{n}" for n in range(20_000)]}),
        chat(response_format={"type": "structural_tag", "triggers": ["<f>"],
                              "structures": [tag] * 128}),
    )  # fmt: skip


def with_parameters() -> Sequence[Request]:
    """As many choices, biases, probabilities and stop strings as there may be, and more."""
    return (
        chat(n=16, logprobs=True, top_logprobs=20, temperature=1),
        chat(n=10**9),
        chat(logit_bias={str(n): -100 for n in range(1024)}, seed=1, temperature=1),
        chat(logit_bias={str(n): -100 for n in range(49_152)}),
        chat(stop=["ab" * 2000 + str(n) for n in range(32)]),
        chat(stop=["x"] * 100_000),
        chat(thinking_budget=2**62, chat_template_kwargs={f"k{n}": [] for n in range(10_000)}),
        ("/v1/completions", {"prompt": ["a"] * 16, "logprobs": 20, "max_tokens": TOKENS}),
    )


def all_at_once(target: Target, _: Caller, *, make: Callable[[], Sequence[Request]]) -> None:
    """Requests at the same time: each is served or refused."""
    expect(
        at_once([partial(target.post, path, {"model": CHAT, **body}) for path, body in make()]),
        TAKEN,
    )


ATTACKS = tuple(
    Attack(name, partial(all_at_once, make=make))
    for name, make in {
        "grammars that grow": with_formats,
        "as many choices and biases as there may be": with_parameters,
    }.items()
)
