"""Renders a repository's chat template in a sandbox, as documented by transformers.

Reference: huggingface.co/docs/transformers/chat_templating. Templates are Jinja with
`trim_blocks` and `lstrip_blocks`, the statements break, continue and generation, the functions
raise_exception and strftime_now, and a tojson that does not escape HTML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from fleet_server.load_error import LoadError
from fleet_server.protocols import NO_ARGUMENTS, TemplateArguments

MAX_BYTES = 16 << 20
REFUSALS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What messages that a template was not written for lead to."""
SPECIAL_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class TemplateRefusal(Exception):
    """The template refused the messages; the text is its reason."""


class ChatTemplate:
    """`tokens` are variables of the template, such as `bos_token`. Thread-safe."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """Raises LoadError if `source` is not Jinja."""
        try:
            self._template: Template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise LoadError(
                f"The chat template has a syntax error in line {error.lineno}: {error.message}.",
                "Correct it in chat_template.jinja.",
            ) from error
        self.source = source
        self._tokens = dict(tokens)

    def render(
        self, messages: Sequence[Mapping[str, Any]], arguments: TemplateArguments = NO_ARGUMENTS
    ) -> str:
        """The prompt up to the beginning of the assistant's turn. Raises TemplateRefusal."""
        given = {
            **arguments.variables, **self._tokens, "messages": messages, "documents": None,
            "tools": list(arguments.tools) or None,
            "add_generation_prompt": arguments.begins_turn,
        }  # fmt: skip
        try:
            return self._template.render(given)
        except REFUSALS as error:
            raise TemplateRefusal(str(error) or repr(error)) from error


class GenerationTag(Extension):
    """`{% generation %}` marks assistant turns for training; its content is rendered unchanged."""

    tags = {"generation"}  # noqa: RUF012  (declared so by jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def variables(source: str) -> frozenset[str]:
    """The variables that a template reads and does not set itself; none if it is not Jinja."""
    environment = _environment()
    try:
        found = meta.find_undeclared_variables(environment.parse(source))
    except (TemplateError, RecursionError):
        return frozenset()
    return frozenset(found) - environment.globals.keys()


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def read(folder: Path) -> ChatTemplate | None:
    """The template of the repository in `folder`, or None. Raises LoadError.

    Read from the first of chat_template.jinja, tokenizer_config.json and chat_template.json that
    has one.
    """
    config = _object(folder / "tokenizer_config.json")
    source = _text(folder / "chat_template.jinja")
    if source is None:
        source = _named(config.get("chat_template"))
    if source is None:
        source = _named(_object(folder / "chat_template.json").get("chat_template"))
    if source is None:
        return None
    declared = {**_object(folder / "special_tokens_map.json"), **config}
    tokens = {f"{name}_token": _token(declared.get(f"{name}_token")) for name in SPECIAL_TOKENS}
    return ChatTemplate(source, {name: text for name, text in tokens.items() if text is not None})


def _named(given: Any) -> str | None:
    """A template, or the one named `default` of several."""
    if isinstance(given, list):
        for entry in given:
            if isinstance(entry, Mapping) and entry.get("name") == "default":
                given = entry.get("template")
    return given if isinstance(given, str) else None


def _token(given: Any) -> str | None:
    text = given.get("content") if isinstance(given, Mapping) else given
    return text if isinstance(text, str) else None


def _object(path: Path) -> dict[str, Any]:
    text = _text(path)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path} is not valid JSON: {error}.", "Fetch the model again.") from error
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LoadError(f"{path} is larger than {MAX_BYTES} bytes.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read: {error}.", "Fetch the model again.") from error


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
