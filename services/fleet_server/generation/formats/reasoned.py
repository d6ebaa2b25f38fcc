"""The format of a text that reasons before an answer in another format."""

from __future__ import annotations

from dataclasses import replace

from fleet_server.generation.reasoning import ReasoningMarks
from fleet_server.protocols import FormatKind, OutputFormat

SPACE = r"/[ \n]{0,4}/"
"""Between the closing mark and the answer."""


def can_follow_reasoning(output: OutputFormat, marks: ReasoningMarks) -> bool:
    """Whether `after_reasoning` has a grammar: formats that are not JSON cannot be part of one, and
    marks of several words may hold special tokens."""
    is_json = output.kind is FormatKind.JSON_SCHEMA
    calls = output.kind is FormatKind.CALLS and not output.marks and not output.free
    return (is_json or calls) and len((marks.open + marks.close).split()) == 1


def after_reasoning(output: OutputFormat, marks: ReasoningMarks, *, is_open: bool) -> OutputFormat:
    """A block of reasoning and then JSON, or calls that must be made. `is_open`: the prompt has
    opened the block."""
    answer = "answer: part_0"
    parts: tuple[OutputFormat, ...] = (output,)
    if output.kind is FormatKind.CALLS:
        answer, parts = output.source.replace("start:", "answer:", 1), output.parts
    block = "until_0" if is_open else "mark_1 until_0"
    return replace(
        output, source=f"start: {block} space answer\nspace: {SPACE}\n{answer}",
        kind=FormatKind.CALLS, parts=parts, marks=(marks.close, marks.open), free=True,
    )  # fmt: skip
