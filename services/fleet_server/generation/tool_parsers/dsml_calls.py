"""DeepSeek V3.2's calls in its markup, whose strings are text as it is and other values JSON.

Format: huggingface.co/deepseek-ai/DeepSeek-V3.2, encoding/README.md.
"""

from __future__ import annotations

import re
from typing import Any

from fleet_server.generation.tool_grammars.marks import DSML
from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse

BEGIN, END = f"<{DSML}function_calls>", f"</{DSML}function_calls>"
INVOKE = re.compile(
    rf'\s*<{DSML}invoke name="([^"\n]+)">(.*?)</{DSML}invoke>\s*', re.DOTALL
)  # fmt: skip
PARAMETER = re.compile(
    rf'\s*<{DSML}parameter name="([^"\n]+)" string="(true|false)">(.*?)</{DSML}parameter>\s*',
    re.DOTALL,
)


def read_dsml(block: str, schemas: Schemas) -> list[Call] | None:
    """The calls of a block."""
    calls: list[Call] = []
    place, end = 0, len(block.rstrip())
    while place < end:
        invoked = INVOKE.match(block, place)
        arguments = _arguments(invoked[2]) if invoked else None
        known = call(invoked[1], arguments, schemas) if invoked else None
        if invoked is None or known is None:
            return None
        calls.append(known)
        place = invoked.end()
    return calls or None


def _arguments(body: str) -> Any:
    """The parameters, or the JSON object that a grammar writes for those without a fixed set."""
    if body.lstrip().startswith("{"):
        return parse(body)
    found: dict[str, Any] = {}
    place, end = 0, len(body.rstrip())
    while place < end:
        parameter = PARAMETER.match(body, place)
        if parameter is None:
            return None
        name, is_text, text = parameter.groups()
        found[name] = text if is_text == "true" else _value(text)
        place = parameter.end()
    return found


def _value(text: str) -> Any:
    value = parse(text)
    return text if value is None and text.strip() != "null" else value
