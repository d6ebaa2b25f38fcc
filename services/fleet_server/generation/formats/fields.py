"""Reads the format that a request wants for its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from fleet_contract.api.formats import FormatFields, ResponseFormat, StructuredOutputs
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.generation.formats.schema import narrowed
from fleet_server.generation.formats.structural_tags import structural_tag
from fleet_server.protocols import FormatKind, OutputFormat

JSON_OBJECT = '{"type": "object"}'
MAX_GRAMMAR = 50_000
MAX_CHOICE_CHARS = 200_000
SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&\-~]")
"""Letters that have a meaning in a regular expression."""


def read_format(given: FormatFields) -> OutputFormat | None:
    """The format of a chat or a completion. Raises BadRequest with `param`."""
    found = list(_formats(given))
    if len(found) > 1:
        first, second = (each.param.partition(".")[0] for each in found[:2])
        raise BadRequest(
            f"{second!r} cannot be combined with {first!r}: both are formats of the text.",
            param=second,
            code="conflicting_formats",
        )
    return found[0] if found else None


def json_schema(schema: Any, place: str, *, strict: bool = False) -> OutputFormat:
    """JSON that follows `schema`. Raises BadRequest for one beyond the bounds."""
    return OutputFormat(narrowed(schema, place), place, strict=strict)


def json_object(place: str) -> OutputFormat:
    """Any JSON object."""
    return OutputFormat(JSON_OBJECT, place)


def check_output(output: OutputFormat | None, supports: frozenset[str]) -> None:
    """Raises UnsupportedParameter for a format that the engine does not have."""
    if output is None:
        return
    needed = "json_schema" if output.kind is FormatKind.JSON_SCHEMA else "grammar"
    if output.source == JSON_OBJECT:
        needed = "response_format"
    if needed not in supports:
        raise UnsupportedParameter(
            f"{output.param!r} is not supported by this model's engine; engines that support it: "
            f"openvino, llamacpp, torch, vllm.",
            param=output.param.partition(".")[0],
        )


def _formats(given: FormatFields) -> Iterator[OutputFormat]:
    if given.response_format is not None and given.response_format.type != "text":
        yield _of_response(given.response_format)
    if given.structured_outputs is not None:
        yield _of_vllm(given.structured_outputs)
    if given.guided_json is not None:
        yield _schema_or_text(given.guided_json, "guided_json")
    if given.guided_regex is not None:
        yield OutputFormat(given.guided_regex, "guided_regex", FormatKind.REGEX)
    if given.guided_choice is not None:
        yield _choice(given.guided_choice, "guided_choice")
    if given.guided_grammar is not None:
        yield _grammar(given.guided_grammar, "guided_grammar")
    if given.grammar is not None:
        yield _grammar(given.grammar, "grammar")
    if given.json_schema is not None:
        yield json_schema(given.json_schema, "json_schema")


def _of_response(given: ResponseFormat) -> OutputFormat:
    if given.type == "json_object":
        if given.object_schema is not None:
            return json_schema(given.object_schema, "response_format.schema")
        return json_object("response_format")
    if given.type == "structural_tag":
        return structural_tag(given.model_dump(exclude_none=True), "response_format")
    named, place = given.json_schema, "response_format.json_schema"
    if named is None:
        raise BadRequest(f"Missing required parameter: {place!r}.", param=place, code="missing")
    return json_schema(named.json_schema, f"{place}.schema", strict=bool(named.strict))


def _of_vllm(given: StructuredOutputs) -> OutputFormat:
    place = "structured_outputs"
    found: list[OutputFormat] = []
    if given.json_schema is not None:
        found.append(_schema_or_text(given.json_schema, f"{place}.json"))
    if given.json_object:
        found.append(json_object(f"{place}.json_object"))
    if given.regex is not None:
        found.append(OutputFormat(given.regex, f"{place}.regex", FormatKind.REGEX))
    if given.choice is not None:
        found.append(_choice(given.choice, f"{place}.choice"))
    if given.grammar is not None:
        found.append(_grammar(given.grammar, f"{place}.grammar"))
    if given.structural_tag is not None:
        where = f"{place}.structural_tag"
        found.append(structural_tag(_object(given.structural_tag, where), where))
    if len(found) != 1:
        raise BadRequest(
            f"{place!r} must have exactly one of json, json_object, regex, choice, grammar and "
            f"structural_tag.",
            param=place,
        )
    return found[0]


def _schema_or_text(value: dict[str, Any] | str, place: str) -> OutputFormat:
    return json_schema(_object(value, place), place)


def _object(value: dict[str, Any] | str, place: str) -> dict[str, Any]:
    """An object, or its text."""
    if isinstance(value, str):
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise BadRequest(
                f"{place!r} must be a JSON object, or its text.", param=place, code="invalid_schema"
            )
        return found
    return value


def _choice(texts: Sequence[str], place: str) -> OutputFormat:
    if (number := sum(map(len, texts))) > MAX_CHOICE_CHARS:
        raise BadRequest(
            f"{place!r} has {number} characters; at most {MAX_CHOICE_CHARS} are accepted.",
            param=place,
        )
    pattern = "|".join(SPECIAL.sub(r"\\\g<0>", text) for text in texts)
    return OutputFormat(pattern, place, FormatKind.REGEX)


def _grammar(text: str, place: str) -> OutputFormat:
    if len(text) > MAX_GRAMMAR:
        raise BadRequest(
            f"{place!r} has {len(text)} characters; at most {MAX_GRAMMAR} are accepted.",
            param=place,
        )
    return OutputFormat(text, place, FormatKind.GRAMMAR)
