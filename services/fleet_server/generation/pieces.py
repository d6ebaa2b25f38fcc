"""The parts of a generated message: text, reasoning and tool calls."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Text:
    """Text of the message."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """The beginning of the tool call number `index`."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the arguments of the tool call number `index`, as JSON text."""

    index: int
    text: str


Piece = Text | Reasoning | CallStart | CallArguments


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces, with adjacent ones of the same kind as one."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, Text) and isinstance(last, Text):
            found[-1] = Text(last.text + piece.text)
        elif isinstance(piece, Reasoning) and isinstance(last, Reasoning):
            found[-1] = Reasoning(last.text + piece.text)
        elif (
            isinstance(piece, CallArguments)
            and isinstance(last, CallArguments)
            and piece.index == last.index
        ):
            found[-1] = CallArguments(piece.index, last.text + piece.text)
        else:
            found.append(piece)
    return found


def text_of(pieces: Iterable[Piece]) -> str:
    """The text of the message."""
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


@dataclass(frozen=True, slots=True)
class WholeCall:
    """A tool call; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class WholeMessage:
    """A complete message."""

    reasoning: str
    text: str
    calls: list[WholeCall]


def message_of(pieces: Iterable[Piece]) -> WholeMessage:
    """The message of all pieces. A call whose arguments were cut off is text."""
    reasoning, text = "", ""
    calls: list[WholeCall] = []
    for piece in pieces:
        match piece:
            case Text(more):
                text += more
            case Reasoning(more):
                reasoning += more
            case CallStart(_, id, name):
                calls.append(WholeCall(id, name, ""))
            case CallArguments(index, more):
                calls[index] = replace(calls[index], arguments=calls[index].arguments + more)
    if calls and not _is_json(calls[-1].arguments):
        cut = calls.pop()
        text += f'{{"name": "{cut.name}", "arguments": {cut.arguments}'
    return WholeMessage(reasoning, text, calls)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
