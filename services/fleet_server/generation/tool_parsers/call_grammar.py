"""Grammars of tool calls: calls that must be made, and calls whose arguments follow their schemas
once they have begun, in the syntax of the model's family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from fleet_server.engines.guided.lark import ANY
from fleet_server.generation.tool_grammars.rules import Rules, Tools
from fleet_server.generation.tool_parsers.syntax import NAME, CallForm, Syntax
from fleet_server.protocols import FormatKind, OutputFormat

MOST_CALLS = 8
"""In one message that must have calls: small models do not end by themselves."""
FORCED = CallForm('{"name": "NAME", "arguments": ', "}")
WHITE_SPACE = r"/[ \n]{0,2}/"
FREE = r"/(\s*[^\s%s](.|\n)*)?/"
"""A text that cannot begin with a call, which begins with a letter."""


def forced(tools: Tools, *, parallel: bool) -> OutputFormat:
    """One call of one of the tools, or several, as JSON in lines of their own."""
    more = f'("\\n" call){{0,{MOST_CALLS - 1}}}' if parallel else ""
    rules = Rules(())
    source = f"start: call {more}\ncall: {_calls(FORCED, tools, rules)}"
    return OutputFormat(source, _place(tools), FormatKind.CALLS, parts=tuple(rules.parts))


def guided_syntax(syntax: Syntax) -> Syntax:
    """The syntax without the beginnings of calls that a grammar does not follow."""
    lead = syntax.form.lead if syntax.form else ""
    return replace(syntax, leads=tuple(each for each in syntax.leads if each == lead))


def optional(
    tools: Tools, syntax: Syntax, loose: Sequence[str], output: OutputFormat | None = None
) -> OutputFormat | None:
    """Any text and calls, or either calls or a text in the format `output`, a JSON Schema. `loose`
    are the marks of reasoning. None for a syntax without a form."""
    if syntax.whole is not None:
        return syntax.whole(tools, output)
    form = syntax.form
    if form is None:
        return None
    rules = Rules(syntax.marks)
    close = f"ws mark_{len(syntax.opens)}" if syntax.close else ""
    inner = f"ws {rules.literal(form.begin)} call"
    if form.between is not None:
        inner += f" ({rules.literal(form.between)} call)*"
    inner += f" {rules.literal(form.end)} ws"
    leads = form.lead in syntax.leads
    source = [
        f"call: {_calls(form, tools, rules)}", f"inner: {inner}", f"ws: {WHITE_SPACE}",
        f"BEFORE: {FREE % re.escape(form.lead) if leads else ANY}",
    ]  # fmt: skip
    numbers = range(len(syntax.opens))
    blocks = "(" + " | ".join(f"mark_{number} inner {close}" for number in numbers) + ")"
    later = "(" + " | ".join(f"until_{number} inner {close}" for number in numbers) + ")"
    # A block without a closing mark ends with the text, or with the next block.
    again = "" if form.begin else f"{blocks}*"
    if output is not None:
        lead = " | inner" if leads else ""
        start = f"start: {blocks} {again if not syntax.close else f'(ws {blocks})* ws'}{lead}"
        start += f" | {rules.part(output)}"
    elif leads:
        start = f"start: ws inner | reasoned BEFORE | {blocks}"
    elif syntax.close:
        start = f"start: reasoned {later}* TEXT"
    else:
        start = f"start: reasoned TEXT | reasoned {later} {again}"
    return OutputFormat(
        "\n".join([start, *source, *rules.lines]), output.param if output else _place(tools),
        FormatKind.CALLS, parts=tuple(rules.parts), marks=rules.marks, loose=tuple(loose),
        free=output is None,
    )  # fmt: skip


def _place(tools: Tools) -> str:
    """The place in the request of the schemas."""
    return tools[0][1].param if len(tools) == 1 else "tools"


def _calls(form: CallForm, tools: Tools, rules: Rules) -> str:
    """The alternatives of one call."""
    return " | ".join(_call(form, name, arguments, rules) for name, arguments in tools)


def _call(form: CallForm, name: str, arguments: OutputFormat, rules: Rules) -> str:
    """A call in the syntax of the family, or with JSON arguments if it cannot be written so."""
    if form.write is not None and rules.can_afford(arguments):
        written = form.write(rules, name, arguments)
        if written is not None:
            return written
    head, tail = rules.literal(form.head.replace(NAME, name)), rules.literal(form.tail)
    return f"{head} {rules.part(arguments)} {tail}"
