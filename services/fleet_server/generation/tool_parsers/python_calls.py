"""LFM2's calls: a list of Python calls with literal keyword arguments, `[name(key="value")]`.

A call may also be an object of JSON, as grammars write functions whose names are not Python's.
"""

from __future__ import annotations

import ast
from typing import Any

from fleet_server.generation.tool_parsers.call import Call, Schemas, call
from fleet_server.generation.tool_parsers.json_calls import read_json

MAX_CHARS = 100_000
JSON_NAMES = {"true": True, "false": False, "null": None}


def read_python(block: str, schemas: Schemas) -> list[Call] | None:
    """Calls of this form, or calls as JSON."""
    if len(block) > MAX_CHARS:
        return None
    try:
        body = ast.parse(block.strip(), mode="eval").body
        body = _JsonNames().visit(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return read_json(block, schemas)
    nodes = body.elts if isinstance(body, ast.List) else [body]
    calls = [_call(node, schemas) for node in nodes]
    known = [each for each in calls if each is not None]
    return known if known and len(known) == len(calls) else read_json(block, schemas)


class _JsonNames(ast.NodeTransformer):
    """Replaces JSON's names of values by Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in JSON_NAMES:
            return node
        return ast.copy_location(ast.Constant(JSON_NAMES[node.id]), node)


def _call(node: ast.expr, schemas: Schemas) -> Call | None:
    if isinstance(node, ast.Dict):
        found = _literal(node)
        known = found.keys() == {"name", "arguments"} if isinstance(found, dict) else False
        return _known(found["name"], found["arguments"], schemas) if known else None
    name, called = _named(node)
    if called is None or called.args:
        return None
    arguments = {each.arg: _literal(each.value) for each in called.keywords}
    if None in arguments or UNREADABLE in arguments.values():  # None: **mapping
        return None
    return _known(name, arguments, schemas)


def _named(node: ast.expr) -> tuple[str, ast.Call | None]:
    """The name of a call, in which hyphens are operators to Python."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id, node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        name, called = _named(node.right)
        before = _hyphenated(node.left)
        return f"{before}-{name}", called if before else None
    return "", None


def _hyphenated(node: ast.expr) -> str:
    """A name with hyphens; empty if the expression is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        before, after = _hyphenated(node.left), _hyphenated(node.right)
        return f"{before}-{after}" if before and after else ""
    return ""


class _Unreadable:
    """An expression that is not a literal."""


UNREADABLE = _Unreadable()


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return UNREADABLE


def _known(name: Any, arguments: Any, schemas: Schemas) -> Call | None:
    try:
        return call(name, arguments, schemas)
    except TypeError:  # a set or bytes, which are not JSON
        return None
