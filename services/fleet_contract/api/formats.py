"""Formats that a text must follow, as OpenAI's API, vLLM and llama.cpp write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from fleet_contract.api.base import JsonBody

MAX_CHOICES = 10_000
MAX_PATTERN = 10_000

JsonSchema = dict[str, Any]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)]
Choices = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True),
]
Grammar = Annotated[str, Field(min_length=1)]


class NamedSchema(JsonBody):
    """A JSON Schema that the response must follow."""

    name: str | None = None
    """Has no effect."""
    description: str | None = None
    """Has no effect."""
    strict: bool | None = None
    """Whether a keyword that cannot be enforced is an error; otherwise the header
    `x-modelfleet-schema-unenforced` names it. All others are enforced in either case."""
    json_schema: JsonSchema = Field(default_factory=dict, alias="schema")
    """A JSON Schema."""


def _schema_with_its_type(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [
        {"properties": {"type": {"enum": ["text", "json_object"]}}},
        {
            "properties": {"type": {"const": "json_schema"}, "json_schema": {"type": "object"}},
            "required": ["json_schema"],
        },
        {"properties": {"type": {"const": "structural_tag"}}},
    ]


class ResponseFormat(JsonBody):
    """The format of the response."""

    model_config = ConfigDict(json_schema_extra=_schema_with_its_type)

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    """`json_schema` requires an engine that supports it (openvino, llamacpp, torch, vllm)."""
    json_schema: NamedSchema | None = None
    """The schema, with `type` `json_schema`."""
    object_schema: JsonSchema | None = Field(default=None, alias="schema")
    """A schema with `type` `json_object`, as llama.cpp accepts it."""
    structures: list[dict[str, Any]] | None = None
    """With `type` `structural_tag`, which is vLLM's: objects with the texts `begin` and `end` and
    a JSON Schema `schema`, which what is between them follows."""
    triggers: list[str] | None = None
    """Texts, with one of which each `begin` begins, and after which it is enforced."""
    format: dict[str, Any] | None = None
    """Instead of `structures` and `triggers`: xgrammar's format of the type `triggered_tags`."""


class StructuredOutputs(JsonBody):
    """vLLM's formats, of which exactly one is given."""

    json_schema: JsonSchema | str | None = Field(default=None, alias="json")
    """A JSON Schema, also as text."""
    json_object: bool | None = None
    """Any JSON object."""
    regex: Pattern | None = None
    """A regular expression that the whole text matches."""
    choice: Choices | None = None
    """Texts, one of which is generated."""
    grammar: Grammar | None = None
    """A grammar in Lark, as llguidance reads it, or GBNF."""
    structural_tag: dict[str, Any] | str | None = None
    """Structural tags as in `response_format`, also as text."""


class FormatFields(JsonBody):
    """The parameters for formats, of which a request can have one."""

    response_format: ResponseFormat | None = None
    """With tools, the text follows it unless one is called."""
    structured_outputs: StructuredOutputs | None = None
    """vLLM's parameter."""
    guided_json: JsonSchema | str | None = None
    """An older name of `structured_outputs.json`."""
    guided_regex: Pattern | None = None
    """An older name of `structured_outputs.regex`."""
    guided_choice: Choices | None = None
    """An older name of `structured_outputs.choice`."""
    guided_grammar: Grammar | None = None
    """An older name of `structured_outputs.grammar`."""
    grammar: Grammar | None = None
    """llama.cpp's parameter: a grammar in GBNF, or in Lark as llguidance reads it."""
    json_schema: JsonSchema | None = None
    """llama.cpp's parameter: a JSON Schema."""
