"""DeepSeek's calls: V3 and R1 write the arguments as a code block, V3.1 without."""

from __future__ import annotations

import re

from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse

BEGIN, END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
ONE_BEGIN, ONE_END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
# Spaces around the arguments belong to them here: to look for those at their end after each
# character takes quadratic time.
FENCED = re.compile(r"\s*+([^\s`]++)\s*+```json(.*?)```\s*+", re.DOTALL)


def read_deepseek(block: str, schemas: Schemas) -> list[Call] | None:
    """Calls, each between its own marks."""
    before, *parts = block.split(ONE_BEGIN)
    if before.strip():
        return None
    calls: list[Call] = []
    for part in parts:
        body, ended, after = part.rpartition(ONE_END)
        head, found, arguments = (body if ended else part).partition(SEPARATOR)
        if not found or (after.strip() and ended):
            return None
        name = head.strip()
        if fenced := FENCED.fullmatch(arguments):
            name, arguments = fenced[1], fenced[2]
        known = call(name, parse(arguments), schemas)
        if known is None:
            return None
        calls.append(known)
    return calls or None
