"""Grammars of tool calls: calls that must be made, and calls whose arguments follow their schemas
once they have begun, in the syntax of the model's family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from fleet_server.engines.guided.lark import quoted
from fleet_server.generation.tool_parsers.syntax import NAME, CallForm, Syntax
from fleet_server.protocols import FormatKind, OutputFormat

MOST_CALLS = 8
"""In one message that must have calls: small models do not end by themselves."""
FORCED = CallForm('{"name": "NAME", "arguments": ', "}")
WHITE_SPACE = r"/[ \n]{0,2}/"
FREE = r"/(\s*[^\s{](.|\n)*)?/"
"""A text that cannot begin with a call."""
ANY = r"/(.|\n)*/"

Tools = Sequence[tuple[str, OutputFormat]]
"""The names of the tools and the formats of their arguments."""


def forced(tools: Tools, *, parallel: bool) -> OutputFormat:
    """One call of one of the tools, or several, as JSON in lines of their own."""
    more = f'("\\n" call){{0,{MOST_CALLS - 1}}}' if parallel else ""
    rules = [f"start: call {more}", f"call: {_calls(FORCED, tools, ())}"]
    parts = tuple(arguments for _, arguments in tools)
    return OutputFormat("\n".join(rules), _place(tools), FormatKind.CALLS, parts=parts)


def guided_syntax(syntax: Syntax) -> Syntax:
    """The syntax without the beginnings of calls that a grammar does not follow."""
    leads = tuple(lead for lead in syntax.leads if lead == "{")
    return replace(syntax, leads=leads)


def optional(
    tools: Tools, syntax: Syntax, loose: Sequence[str], output: OutputFormat | None = None
) -> OutputFormat | None:
    """Any text and calls, or either calls or a text in the format `output`, a JSON Schema. `loose`
    are the marks of reasoning. None for a syntax without a form."""
    form = syntax.form
    if form is None:
        return None
    marks = syntax.marks
    close = f"ws mark_{len(syntax.opens)}" if syntax.close else ""
    inner = f"ws {_literal(form.begin, marks)} call"
    if form.between is not None:
        inner += f" ({_literal(form.between, marks)} call)*"
    inner += f" {_literal(form.end, marks)} ws"
    leads = "{" in syntax.leads
    rules = [
        f"call: {_calls(form, tools, marks)}", f"inner: {inner}", f"ws: {WHITE_SPACE}",
        f"BEFORE: {FREE if leads else ANY}",
    ]  # fmt: skip
    numbers = range(len(syntax.opens))
    blocks = "(" + " | ".join(f"mark_{number} inner {close}" for number in numbers) + ")"
    later = "(" + " | ".join(f"until_{number} inner {close}" for number in numbers) + ")"
    # A block without a closing mark ends with the text, or with the next block.
    again = "" if form.begin else f"{blocks}*"
    if output is not None:
        lead = " | inner" if leads else ""
        start = f"start: {blocks} {again if not syntax.close else f'(ws {blocks})* ws'}{lead}"
        start += f" | part_{len(tools)}"
    elif leads:
        start = f"start: ws inner | reasoned BEFORE | {blocks}"
    elif syntax.close:
        start = f"start: reasoned {later}* TEXT"
    else:
        start = f"start: reasoned TEXT | reasoned {later} {again}"
    parts = [arguments for _, arguments in tools]
    if output is not None:
        parts.append(output)
    return OutputFormat(
        "\n".join([start, *rules]), output.param if output else _place(tools), FormatKind.CALLS,
        parts=tuple(parts), marks=marks, loose=tuple(loose), free=output is None,
    )  # fmt: skip


def _place(tools: Tools) -> str:
    """The place in the request of the schemas."""
    return tools[0][1].param if len(tools) == 1 else "tools"


def _calls(form: CallForm, tools: Tools, marks: Sequence[str]) -> str:
    """The alternatives of one call."""
    return " | ".join(
        f"{_literal(form.head.replace(NAME, name), marks)} part_{number} "
        f"{_literal(form.tail, marks)}"
        for number, (name, _) in enumerate(tools)
    )


def _literal(text: str, marks: Sequence[str]) -> str:
    """A text in a rule, with its marks as rules."""
    if not marks:
        return quoted(text) if text else ""
    pieces = re.split("(" + "|".join(map(re.escape, marks)) + ")", text)
    return " ".join(
        f"mark_{marks.index(piece)}" if piece in marks else quoted(piece)
        for piece in pieces
        if piece
    )
