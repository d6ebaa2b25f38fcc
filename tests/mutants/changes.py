"""The changes of a module, made by the operators of cosmic-ray (cosmic-ray.readthedocs.io)."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

OPERATORS = re.compile(
    r"core/(NumberReplacer|AddNot|ZeroIterationForLoop|ExceptionReplacer|Replace\w+With\w+"
    r"|ReplaceUnaryOperator_(Delete_Not|USub_UAdd)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Lt_GtE|Gt_GtE|GtE_Gt|Gt_LtE"
    r"|Is_IsNot|IsNot_Is)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul"
    r"|BitOr_BitAnd|BitAnd_BitOr))"
)
"""One or two replacements of each operator; more of them tell little."""


@dataclass(frozen=True, slots=True)
class Change:
    """The new text of the module at `path`, relative to the repository."""

    path: Path
    line: int
    operator: str
    text: str

    def diff(self, original: str) -> str:
        """The change as a unified diff without context."""
        lines = difflib.unified_diff(
            original.splitlines(), self.text.splitlines(), str(self.path), str(self.path),
            lineterm="", n=0,
        )  # fmt: skip
        return "\n".join(lines)


def changes(root: Path, path: Path) -> Iterator[Change]:
    """The changes of one module that are not equivalent by construction."""
    source = (root / path).read_text(encoding="utf-8")
    skipped = without_effect(source)
    tree = get_ast(source)
    for name in operator_names():
        if not OPERATORS.fullmatch(name):
            continue
        operator = get_operator(name)()
        places = [
            start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, (line, column) in enumerate(places):
            if any(begin <= (line, column) < end for begin, end in skipped):
                continue
            try:
                text = mutate_code(source, operator, occurrence)
            except AttributeError:  # of cosmic-ray: the exception's name has a dot
                continue
            if text is not None and text != source:
                yield Change(path, line, name.removeprefix("core/"), text)


Span = tuple[tuple[int, int], tuple[int, int]]


def without_effect(source: str) -> list[Span]:
    """Where a change has no effect on decisions: annotations, decorators, log calls, and the star
    before arguments that are given by name."""
    found: list[Span] = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts += [node.returns, *node.decorator_list]
            found += _star(node)
        elif isinstance(node, ast.ClassDef):
            parts += node.decorator_list
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("log", "logger.exception"):
            parts.append(node)
        found += [_span(part) for part in parts if part is not None]
    return found


def _star(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Span]:
    """From the last positional argument to the first that is given by name."""
    given = node.args
    if not given.kwonlyargs or given.vararg is not None:
        return []
    before: list[ast.expr | ast.arg] = [*given.posonlyargs, *given.args, *given.defaults]
    ends = [_span(part)[1] for part in before]
    first = given.kwonlyargs[0]
    return [(max(ends, default=(node.lineno, 0)), (first.lineno, first.col_offset))]


def _span(node: ast.expr | ast.arg) -> Span:
    end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
    return (node.lineno, node.col_offset), end
