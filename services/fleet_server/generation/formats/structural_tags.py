"""vLLM's structural tags: any text, in which what follows certain beginnings has a format.

A tag is a beginning, a value that follows a JSON Schema, and an end. It is enforced once the text
has the trigger, with which its beginning begins. Two notations: `structures` and `triggers`, and
xgrammar's `format` of the type `triggered_tags` (xgrammar.mlc.ai, "Structural Tag").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.engines.guided.lark import ANY, quoted
from fleet_server.generation.formats.schema import MAX_CHARS, narrowed
from fleet_server.protocols import FormatKind, OutputFormat

MAX_TAGS = 128
MAX_LETTERS = 1000
"""Of a trigger, a beginning and an end."""
TRIGGERED = "triggered_tags"


@dataclass(frozen=True, slots=True)
class Tag:
    """`begin` and `end` enclose a value in the format `content`."""

    begin: str
    content: OutputFormat
    end: str


def structural_tag(given: Mapping[str, Any], place: str) -> OutputFormat:
    """The format of a text. Raises BadRequest and UnsupportedParameter."""
    form = given.get("format")
    if form is None:
        triggers, tags = _plain(given, place)
        return _format(triggers, tags, place)
    place = f"{place}.format"
    triggers, tags = _triggered(form, place)
    flags = {name: _flag(form, name, place) for name in ("at_least_one", "stop_after_first")}
    return _format(triggers, tags, place, **flags)


def _format(
    triggers: Sequence[str],
    tags: Sequence[Tag],
    place: str,
    *,
    at_least_one: bool = False,
    stop_after_first: bool = False,
) -> OutputFormat:
    choices: dict[int, list[str]] = {number: [] for number in range(len(triggers))}
    for number, tag in enumerate(tags):
        at = next((at for at, each in enumerate(triggers) if tag.begin.startswith(each)), None)
        if at is None:
            raise _invalid(place, f"has the beginning {tag.begin[:64]!r}, which has no trigger")
        terms = [_term(tag.begin[len(triggers[at]) :]), f"part_{number}", _term(tag.end)]
        choices[at].append(" ".join(filter(None, terms)))
    blocks = " | ".join(
        f"until_{at} ({' | '.join(found)})" for at, found in choices.items() if found
    )
    if stop_after_first:
        text = "reasoned tag" if at_least_one else "reasoned tag | reasoned TEXT"
    else:
        text = f"reasoned tag{'+' if at_least_one else '*'} TEXT"
    return OutputFormat(
        f"start: {text}\ntag: {blocks}\nBEFORE: {ANY}",
        place,
        FormatKind.CALLS,
        parts=tuple(tag.content for tag in tags),
        marks=tuple(triggers),
        free=True,
    )


def _term(text: str) -> str:
    return quoted(text) if text else ""


def _plain(given: Mapping[str, Any], place: str) -> tuple[list[str], list[Tag]]:
    """Of the older notation."""
    tags = []
    for entry, where in _entries(given, "structures", place):
        content = _schema(entry, "schema", where)
        tags.append(Tag(_text(entry, "begin", where), content, _end(entry, where)))
    return _triggers(given, place), _bounded(tags, place)


def _triggered(form: Any, place: str) -> tuple[list[str], list[Tag]]:
    """Of xgrammar's notation."""
    if not isinstance(form, dict) or not isinstance(form.get("type"), str):
        raise _invalid(place, "must be an object with a type")
    if form["type"] != TRIGGERED:
        raise UnsupportedParameter(
            f"'{place}.type' is {form['type'][:64]!r}; only {TRIGGERED!r} is supported.",
            param=f"{place}.type",
        )
    tags = []
    for entry, where in _entries(form, "tags", place):
        content, inner = entry.get("content"), f"{where}.content"
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            raise _invalid(inner, "must be an object with a type")
        if content["type"] != "json_schema":
            raise UnsupportedParameter(
                f"'{inner}.type' is {content['type'][:64]!r}; only 'json_schema' is supported.",
                param=f"{inner}.type",
            )
        schema = _schema(content, "json_schema", inner)
        tags.append(Tag(_text(entry, "begin", where), schema, _end(entry, where)))
    return _triggers(form, place), _bounded(tags, place)


def _bounded(tags: list[Tag], place: str) -> list[Tag]:
    if sum(len(tag.content.source) for tag in tags) > MAX_CHARS:
        raise _invalid(place, f"has schemas of more than {MAX_CHARS} characters")
    return tags


def _triggers(given: Mapping[str, Any], place: str) -> list[str]:
    where = f"{place}.triggers"
    found = given.get("triggers")
    if not isinstance(found, list) or not 0 < len(found) <= MAX_TAGS:
        raise _invalid(where, f"must be a list of 1 to {MAX_TAGS} texts")
    texts = [_checked(each, f"{where}[{number}]") for number, each in enumerate(found)]
    ordered = sorted(texts)
    for first, second in pairwise(ordered):
        if second.startswith(first):
            raise _invalid(where, f"has {second[:64]!r}, which begins with another one")
    return texts


def _entries(
    given: Mapping[str, Any], name: str, place: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    found, where = given.get(name), f"{place}.{name}"
    if not isinstance(found, list) or not 0 < len(found) <= MAX_TAGS:
        raise _invalid(where, f"must be a list of 1 to {MAX_TAGS} objects")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise _invalid(f"{where}[{number}]", "must be an object")
        yield entry, f"{where}[{number}]"


def _schema(given: Mapping[str, Any], name: str, place: str) -> OutputFormat:
    where, schema = f"{place}.{name}", given.get(name)
    if not isinstance(schema, dict):
        raise _invalid(where, "must be a JSON Schema")
    return OutputFormat(narrowed(schema, where), where)


def _text(given: Mapping[str, Any], name: str, place: str) -> str:
    return _checked(given.get(name), f"{place}.{name}")


def _end(given: Mapping[str, Any], place: str) -> str:
    return "" if given.get("end") == "" else _text(given, "end", place)


def _checked(text: Any, place: str) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LETTERS:
        raise _invalid(place, f"must be a text of 1 to {MAX_LETTERS} characters")
    return text


def _flag(given: Mapping[str, Any], name: str, place: str) -> bool:
    found = given.get(name, False)
    if not isinstance(found, bool):
        raise _invalid(f"{place}.{name}", "must be a boolean")
    return found


def _invalid(place: str, why: str) -> BadRequest:
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_structural_tag")
