"""The cost of formats and tools: tokens per second at 16 at once and the first token of one stream,
against plain text.

One server of the demo fleet's chat model gets all kinds of requests in turns in short rounds. All
texts have the same length: a schema that the model cannot finish within it, a strict tool that it
may call, and tools without a grammar. Plain text has the prompt of the tools too, which is longer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import httpx
import orjson
import stack
from in_process import STARTS, contents

from fleet_contract.spec import Engine
from fleet_server.generation.tool_prompt import with_tools

AT_ONCE = 16
TOKENS = 64
SCHEMA = {
    "type": "object", "required": ["items"],
    "properties": {"items": {"type": "array", "minItems": 100, "items": {
        "type": "object", "required": ["name", "count", "kind"],
        "properties": {"name": {"type": "string", "maxLength": 40},
                       "count": {"type": "integer", "minimum": 0, "maximum": 100},
                       "kind": {"enum": ["a", "b", "c"]}},
    }}},
}  # fmt: skip
TOOL = {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
}}  # fmt: skip
FORM = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
TOOLS_PROMPT = "plain, prompt of tools"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    TOOLS_PROMPT: {},
    "json_schema": {"response_format": FORM},
    "tools": {"tools": [{"type": "function", "function": TOOL}]},
    "strict tools": {"tools": [{"type": "function", "function": {**TOOL, "strict": True}}]},
}
BASES = {"tools": TOOLS_PROMPT, "strict tools": TOOLS_PROMPT}
"""What a kind is compared with, if not with `plain`."""


def bodies(kind: str, number: int) -> Iterator[bytes]:
    """Distinct prompts, of the same length for all kinds with the same `BASES`."""
    for content in contents(next(STARTS), number):
        messages = [{"role": "user", "content": content}]
        if kind == TOOLS_PROMPT:
            messages = with_tools(messages, [{"type": "function", "function": TOOL}])
        yield orjson.dumps({
            "model": stack.CHAT, "messages": messages,
            "max_tokens": TOKENS, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, **KINDS[kind],
        })  # fmt: skip


async def stream(http: httpx.AsyncClient, body: bytes) -> tuple[float, int]:
    """Seconds to the first piece of text, and the number of tokens."""
    started = perf_counter()
    first, tokens = 0.0, 0
    async with http.stream("POST", "/v1/chat/completions", content=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = orjson.loads(line[6:])
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            if not first and any(each["delta"].get("content") for each in event["choices"]):
                first = perf_counter() - started
    return first, tokens


async def round_of(url: str, kind: str) -> tuple[float, float]:
    """Tokens per second at 16 at once, and the median seconds to the first token alone."""
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
        started = perf_counter()
        found = await asyncio.gather(*(stream(http, body) for body in bodies(kind, AT_ONCE)))
        rate = sum(tokens for _, tokens in found) / (perf_counter() - started)
        firsts = [(await stream(http, body))[0] for body in bodies(kind, 3)]
        return rate, statistics.median(firsts)


def rows(rounds: int, engine: str) -> list[list[Any]]:
    """Medians over the rounds, and ratios to plain text with the same prompt within each round."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with stack.server(stack.spec_of(stack.CHAT, engine=Engine(engine))) as url:
        for kind in KINDS:
            asyncio.run(round_of(url, kind))  # compiles the schema
        for number in range(rounds):
            kinds = list(KINDS) if number % 2 else list(KINDS)[::-1]
            for kind in kinds:
                found[kind].append(asyncio.run(round_of(url, kind)))
    table = []
    for kind, values in found.items():
        pairs = list(zip(values, found[BASES.get(kind, "plain")], strict=True))
        speed = statistics.median(mine[0] / plain[0] for mine, plain in pairs)
        first = statistics.median(mine[1] / plain[1] for mine, plain in pairs)
        rates = statistics.median(mine[0] for mine in values)
        table.append([kind, round(rates), f"{speed:.2f}", f"{first:.2f}"])
    return table


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=9)
    parse.add_argument("--engine", default="auto")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    columns = [f"{AT_ONCE} chats at once", "tokens/s", "speed / plain", "first token / plain"]
    title = f"Formats and tools, {TOKENS} tokens"
    stack.show(title, columns, rows(options.rounds, options.engine), as_json=options.json)


if __name__ == "__main__":
    main()
