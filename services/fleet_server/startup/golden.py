"""Golden checks: inputs with known results that a model must pass before it is ready."""

from __future__ import annotations

import json
from typing import Any

from fleet_contract.errors import FleetError
from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import ExpectedCall, ExpectedJson, GoldenCheck
from fleet_server.generation.conversation import conversation
from fleet_server.generation.formats.fields import check_output, json_schema
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.pieces import message_of
from fleet_server.generation.tool_parsers.schema_kinds import TYPES
from fleet_server.generation.tools import Tool, ToolUse
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel
from fleet_server.startup.warmup import chat_text, reply_text

REPLY_TOKENS = 128
QUIET = {"enable_thinking": False, "thinking": False}
"""Variables of templates that turn reasoning off."""


def check(spec: ModelSpec, model: Any) -> None:
    """Run every check of the spec. Raises LoadError that shows the first wrong result."""
    for golden in spec.golden:
        if spec.task is Task.CHAT and golden.prompt is not None:
            _chat(golden, golden.prompt, model)
        elif spec.task is Task.EMBEDDING and golden.similar:
            _similar(golden, model)
        else:
            raise LoadError(
                f"A golden check does not apply to task {spec.task.value}.",
                "Use `prompt` with `contains`, `toolCall` or `matches` for chat, `similar` for "
                "embedding.",
            )


def _chat(golden: GoldenCheck, prompt: str, model: Any) -> None:
    if golden.tool_call is not None:
        _call(golden.tool_call, prompt, model)
        return
    if golden.matches is not None:
        reply = _json(golden.matches, prompt, model)
    else:
        reply = chat_text(model, prompt, REPLY_TOKENS)
    if (golden.contains or "").lower() not in reply.lower():
        raise LoadError(
            f"Golden check failed: the reply to {prompt!r} does not contain "
            f"{golden.contains!r}; it is {reply[:200]!r}."
        )


def _call(expected: ExpectedCall, prompt: str, model: Any) -> None:
    """The model calls the function although it need not."""
    if "tools" not in model.supports:
        raise LoadError("A golden check has toolCall, but this engine does not support tools.")
    properties = {name: {"type": TYPES[type(each)]} for name, each in expected.arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    tool = Tool(expected.name, {"name": expected.name, "parameters": parameters})
    options = GenerationOptions(REPLY_TOKENS, 0.0, 1.0, tools=ToolUse((tool,)))
    user = {"role": "user", "content": prompt}
    chat = conversation(model, [user], options, None, QUIET)
    begun = chat.prompt(model, [])
    reply = reply_text(model, begun, REPLY_TOKENS, decode=chat.decoder(model))
    parser = chat.parser(begun)
    message = message_of([*parser.feed(reply, 0), *parser.flush()])
    wanted = expected.arguments.items()
    for each in message.calls:
        given = json.loads(each.arguments)
        if each.name == expected.name and all(given.get(key) == value for key, value in wanted):
            return
    raise LoadError(
        f"Golden check failed: the reply to {prompt!r} has no call of {expected.name} with the "
        f"arguments {json.dumps(expected.arguments)}; it is {reply[:200]!r}."
    )


def _json(expected: ExpectedJson, prompt: str, model: Any) -> str:
    """The reply, which follows the schema to its end."""
    try:
        wanted = json_schema(expected.json_schema, "golden.matches.schema")
        check_output(wanted, model.supports)
        grammar = model.compile(wanted)
    except FleetError as error:
        raise LoadError(f"A golden check cannot be run: {error.message}") from error
    options = GenerationOptions(REPLY_TOKENS, 0.0, 1.0, output=wanted)
    user = {"role": "user", "content": prompt}
    chat = conversation(model, [user], options, None, QUIET)
    reply = reply_text(model, chat.prompt(model, []), REPLY_TOKENS, grammar=grammar)
    try:
        json.loads(reply)
    except ValueError:
        raise LoadError(
            f"Golden check failed: the reply to {prompt!r} does not end within {REPLY_TOKENS} "
            f"tokens of JSON that follows the schema; it is {reply[:200]!r}."
        ) from None
    return reply


def _similar(golden: GoldenCheck, model: EmbeddingModel) -> None:
    first, second = model.embed(model.tokenize(golden.similar))
    cosine = float(first @ second)
    if cosine < golden.min_cosine:
        raise LoadError(
            f"Golden check failed: the cosine of {golden.similar[0]!r} and {golden.similar[1]!r} "
            f"is {cosine:.3f}, below {golden.min_cosine}."
        )
