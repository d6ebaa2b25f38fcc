"""LFM2's calls: a list of Python calls with literal keyword arguments, `[name(key="value")]`."""

from __future__ import annotations

import ast

from fleet_server.generation.tool_parsers.call import Call, Schemas, call
from fleet_server.generation.tool_parsers.json_calls import read_json

MAX_CHARS = 100_000


def read_python(block: str, schemas: Schemas) -> list[Call] | None:
    """Calls of this form, or calls as JSON."""
    if len(block) > MAX_CHARS:
        return None
    try:
        body = ast.parse(block.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return read_json(block, schemas)
    nodes = body.elts if isinstance(body, ast.List) else [body]
    calls = [_call(node, schemas) for node in nodes]
    known = [each for each in calls if each is not None]
    return known if known and len(known) == len(calls) else read_json(block, schemas)


def _call(node: ast.expr, schemas: Schemas) -> Call | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        return None
    try:
        arguments = {each.arg: ast.literal_eval(each.value) for each in node.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    if None in arguments:  # **mapping
        return None
    try:
        return call(node.func.id, arguments, schemas)
    except TypeError:  # a set or bytes, which are not JSON
        return None
