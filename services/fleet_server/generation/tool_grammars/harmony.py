"""Grammar of gpt-oss's messages (fleet_server.generation.tool_parsers.harmony)."""

from __future__ import annotations

from fleet_server.generation.tool_grammars.marks import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    START,
)
from fleet_server.generation.tool_grammars.rules import Rules, Tools, alternatives
from fleet_server.protocols import FormatKind, OutputFormat

MARKS = (START, CHANNEL, MESSAGE, CONSTRAIN, END, CALL)
OTHER = r"/([^< ](.|\n)*)?/"
"""A text without messages."""


def write_harmony(tools: Tools, output: OutputFormat | None) -> OutputFormat:
    """A WholeText: messages, among them calls whose
    arguments follow their schemas. The answer is in the format `output` if it is given."""
    rules = Rules(MARKS)
    calls = alternatives([_call(rules, name, arguments) for name, arguments in tools])
    end, after = rules.until(END), rules.literal(f"{START}assistant")
    thought = _head(rules, '("analysis" | "commentary")')
    step = f"({thought} {end} | call ({rules.literal(CALL)} | {rules.literal(END)})) {after}"
    if output is None:
        final = _head(rules, '("analysis" | "commentary" | "final")') + " TEXT | OTHER"
        place = tools[0][1].param if len(tools) == 1 else "tools"
    else:
        answer = f'"final" (" "? {rules.literal(CONSTRAIN)} "json")?'
        final, place = f"{_head(rules, answer)} {rules.part(output)}", output.param
    source = [
        f"start: (step)* ({final} | call {rules.literal(CALL)}?)",
        f"step: {step}", f"call: {calls}", f"OTHER: {OTHER}",
        f'kind: (" json" | " "? {rules.literal(CONSTRAIN)} "json")?',
    ]  # fmt: skip
    return OutputFormat(
        "\n".join(source), place, FormatKind.CALLS, parts=tuple(rules.parts), marks=rules.marks,
        free=True,
    )  # fmt: skip


def _head(rules: Rules, channel: str) -> str:
    """The header of a message in one of the channels."""
    return f"{rules.literal(CHANNEL)} {channel} {rules.literal(MESSAGE)}"


def _call(rules: Rules, name: str, arguments: OutputFormat) -> str:
    """A call, whose recipient is in the header, or before it."""
    to = rules.literal(f" to=functions.{name}")
    channel = '("commentary" | "analysis")'
    head = f"({to} {rules.literal(CHANNEL)} {channel} | {rules.literal(CHANNEL)} {channel} {to})"
    return f"{head} kind {rules.literal(MESSAGE)} {rules.part(arguments)}"
