"""Validates the tools of a request and which of them must be called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fleet_contract.api.tools import MAX_TOOLS
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.generation.formats.fields import JSON_OBJECT
from fleet_server.generation.formats.schema import MAX_CHARS, check_size, narrowed
from fleet_server.generation.namespaces import (
    Entry,
    entries,
    full_name,
    is_namespace,
    prefix,
)
from fleet_server.generation.tool_parsers import call_grammar
from fleet_server.generation.tool_parsers.syntax import Syntax
from fleet_server.protocols import OutputFormat

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
MODES = ("none", "auto", "required")
ALLOWED = "allowed_tools"
NAME = re.compile("[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Tool:
    """`definition` is the function as chat templates get it, `place` that of its parameters in the
    request. In a `namespace`, `name` begins with it."""

    name: str
    definition: dict[str, Any]
    place: str = "tools"
    strict: bool = False
    namespace: str | None = None

    @property
    def local_name(self) -> str:
        """The name within the namespace."""
        namespace = self.namespace
        return self.name if namespace is None else self.name.removeprefix(prefix(namespace))

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        found: dict[str, Any] = self.definition["parameters"]
        return found

    def arguments(self) -> OutputFormat:
        """The format of the arguments. Raises BadRequest."""
        schema = {"type": "object", **self.parameters}
        return OutputFormat(narrowed(schema, self.place), self.place, strict=self.strict)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools that the model may call, and those of which it must call one. `parallel`: it may
    make several calls; `named`: one tool was named, which is called once."""

    tools: tuple[Tool, ...] = ()
    required: tuple[Tool, ...] = ()
    parallel: bool = True
    named: bool = False

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools as chat templates get them."""
        return [{"type": "function", "function": tool.definition} for tool in self.tools]

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The JSON Schema of the arguments of each tool."""
        return {tool.name: tool.parameters for tool in self.tools}

    @property
    def num_chars(self) -> int:
        """Length of all definitions."""
        return sum(len(json.dumps(each, ensure_ascii=False)) for each in self.definitions)

    @property
    def strict(self) -> bool:
        """Whether the arguments of a tool must follow its schema."""
        return any(tool.strict for tool in self.tools)

    @property
    def several(self) -> bool:
        """Whether the calls that must be made may be more than one."""
        return self.parallel and not self.named

    def forced(self) -> OutputFormat:
        """The format of the calls that must be made. Raises BadRequest."""
        calls = [(tool.name, tool.arguments()) for tool in self.required]
        return call_grammar.forced(calls, parallel=self.several)

    def optional(
        self, syntax: Syntax, loose: Sequence[str], output: OutputFormat | None
    ) -> OutputFormat | None:
        """The format of a text with calls that follow the schemas of strict tools, or of calls and
        otherwise `output`; None if no grammar can follow both. Raises BadRequest."""
        calls = [
            (tool.name, tool.arguments() if tool.strict else OutputFormat(JSON_OBJECT, tool.place))
            for tool in self.tools
        ]
        return call_grammar.optional(calls, syntax, loose, output)


NO_TOOLS = ToolUse()


@dataclass(frozen=True, slots=True)
class ToolFields:
    """How a route writes tools.

    `nested` is the key of the function in a tool and in a choice, None if its fields are those of
    the tool itself; `schema` the key of its parameters, which `needs_schema` requires; `kinds` are
    the types of such a tool. `namespaces`: tools may be within namespaces.
    """

    nested: str | None
    schema: str = "parameters"
    kinds: tuple[str | None, ...] = ("function",)
    longest_name: int = 64
    needs_schema: bool = False
    namespaces: bool = False


CHAT_TOOLS = ToolFields("function")
RESPONSE_TOOLS = ToolFields(None, namespaces=True)
MESSAGE_TOOLS = ToolFields(None, "input_schema", (None, "custom"), 128, needs_schema=True)


def read_tools(
    raw: Any,
    choice: Any,
    parallel: bool | None,
    fields: ToolFields,
    hidden: Set[str] = frozenset(),
) -> ToolUse:
    """The tools of a request except those named in `hidden`, and its `tool_choice`. Raises
    BadRequest with `param`."""
    tools = tuple(tool for tool in _tools(raw, fields) if tool.name not in hidden)
    chosen = _choice(choice, fields)
    if not tools:
        if chosen.mode not in (None, "none", "auto") or chosen.names is not None:
            raise BadRequest(
                "'tool_choice' requires 'tools'.", param="tool_choice", code="tools_missing"
            )
        return NO_TOOLS
    if chosen.mode == "none":
        return NO_TOOLS
    allowed = tools if chosen.names is None else _named(chosen.names, tools)
    required = allowed if chosen.mode == "required" else ()
    shown = tools if chosen.one else allowed
    return ToolUse(shown, required, parallel is not False, chosen.one)


def _named(names: Sequence[str], tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools that a choice names, in any namespace. Raises BadRequest for an unknown one."""
    known = {name for tool in tools for name in (tool.name, tool.local_name)}
    for name in names:
        if name not in known:
            raise BadRequest(
                f"'tool_choice' names {name!r}, which is not one of 'tools'.",
                param="tool_choice",
                code="unknown_tool",
            )
    return tuple(tool for tool in tools if not {tool.name, tool.local_name}.isdisjoint(names))


def _tools(raw: Any, fields: ToolFields) -> tuple[Tool, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise _invalid("tools", "must be a list of functions")
    if len(raw) > MAX_TOOLS:
        raise _invalid("tools", f"has {len(raw)} tools; at most {MAX_TOOLS} are accepted")
    for index, entry in enumerate(raw):
        if fields.namespaces and is_namespace(entry):
            _check_namespace(entry, f"tools[{index}]", fields)
    found = list(islice(entries(raw, namespaces=fields.namespaces), MAX_TOOLS + 1))
    if len(found) > MAX_TOOLS:
        raise _invalid("tools", f"has more than {MAX_TOOLS} functions")
    tools = tuple(_tool(entry, fields) for entry in found)
    names: set[str] = set()
    for entry, tool in zip(found, tools, strict=True):
        if tool.name in names:
            raise BadRequest(
                f"'tools' has two functions of the name {tool.name!r}.",
                param=_inner(entry.place, "name", fields),
                code="duplicate_tool",
            )
        names.add(tool.name)
    if (number := ToolUse(tools).num_chars) > MAX_CHARS:
        raise BadRequest(
            f"'tools' has {number} characters; at most {MAX_CHARS} are accepted.",
            param="tools",
            code="tools_too_large",
        )
    return tools


def _check_namespace(entry: Mapping[str, Any], place: str, fields: ToolFields) -> None:
    _name(entry, place, fields)
    if not isinstance(entry.get("description"), str | None):
        raise _invalid(f"{place}.description", "must be a string")
    tools = entry.get("tools")
    if not isinstance(tools, list) or not tools:
        raise _invalid(f"{place}.tools", "must be a list of functions")


def _tool(entry: Entry, fields: ToolFields) -> Tool:
    place, namespace = entry.place, entry.namespace
    function = _function(entry.function, place, fields)
    name = _name(function, place, fields)
    description, parameters = function.get("description"), function.get(fields.schema)
    if description is not None and not isinstance(description, str):
        raise _invalid(_inner(place, "description", fields), "must be a string")
    if not isinstance(parameters, dict) and (parameters is not None or fields.needs_schema):
        raise _invalid(_inner(place, fields.schema, fields), "must be a JSON Schema")
    if not isinstance(function.get("strict", False), bool | None):
        raise _invalid(_inner(place, "strict", fields), "must be a boolean")
    check_size(parameters, _inner(place, fields.schema, fields))
    name = full_name(namespace, name)
    definition: dict[str, Any] = {"name": name}
    if description is not None or entry.introduction:
        definition["description"] = "\n".join(filter(None, (entry.introduction, description)))
    definition["parameters"] = parameters or NO_PARAMETERS
    place = _inner(place, fields.schema, fields)
    return Tool(name, definition, place, bool(function.get("strict")), namespace)


def _function(entry: Any, place: str, fields: ToolFields) -> Mapping[str, Any]:
    """The fields of a function, in a tool or a choice."""
    if not isinstance(entry, dict):
        raise _invalid(place, "must be an object")
    kind = entry.get("type")
    if kind not in fields.kinds:
        if isinstance(kind, str) and kind:
            raise UnsupportedParameter(
                f"'{place}.type' is {kind[:64]!r}; only functions are supported.",
                param=f"{place}.type",
            )
        raise _invalid(f"{place}.type", f"must be {fields.kinds[-1]!r}")
    function = entry if fields.nested is None else entry.get(fields.nested)
    if not isinstance(function, dict):
        raise _invalid(f"{place}.{fields.nested}", "must be an object")
    return function


def _name(function: Mapping[str, Any], place: str, fields: ToolFields) -> str:
    name = function.get("name")
    longest = fields.longest_name
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > longest:
        raise _invalid(
            _inner(place, "name", fields),
            f"must have 1 to {longest} letters, digits, '_' and '-'",
        )
    return name


@dataclass(frozen=True, slots=True)
class _Choice:
    """What `tool_choice` asks for: a mode, and the names of the tools that may be called, None for
    all. `one`: it names a tool, which is called once."""

    mode: str | None
    names: tuple[str, ...] | None = None
    one: bool = False


def _choice(choice: Any, fields: ToolFields) -> _Choice:
    if choice is None or (isinstance(choice, str) and choice in MODES):
        return _Choice(choice)
    if not isinstance(choice, dict):
        raise _invalid("tool_choice", f"must be one of {', '.join(MODES)}, or a tool")
    if choice.get("type") == ALLOWED:
        return _allowed(choice, fields)
    name = _name(_function(choice, "tool_choice", fields), "tool_choice", fields)
    return _Choice("required", (name,), one=True)


def _allowed(choice: Mapping[str, Any], fields: ToolFields) -> _Choice:
    """Some of the tools, any of which may or must be called."""
    place = "tool_choice"
    allowed: Any = choice
    if fields.nested is not None:
        place, allowed = f"tool_choice.{ALLOWED}", choice.get(ALLOWED)
    if not isinstance(allowed, dict):
        raise _invalid(place, "must be an object")
    mode, tools = allowed.get("mode"), allowed.get("tools")
    if mode not in ("auto", "required"):
        raise _invalid(f"{place}.mode", "must be auto or required")
    if not isinstance(tools, list) or not 0 < len(tools) <= MAX_TOOLS:
        raise _invalid(f"{place}.tools", f"must be a list of 1 to {MAX_TOOLS} tools")
    places = [f"{place}.tools[{number}]" for number in range(len(tools))]
    names = [
        _name(_function(tool, where, fields), where, fields)
        for tool, where in zip(tools, places, strict=True)
    ]
    return _Choice(mode, tuple(names))


def _inner(place: str, name: str, fields: ToolFields) -> str:
    return f"{place}.{name}" if fields.nested is None else f"{place}.{fields.nested}.{name}"


def _invalid(place: str, why: str) -> BadRequest:
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_value")
