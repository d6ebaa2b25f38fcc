"""Parses and validates the body of POST /v1/chat/completions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.chat import ChatBody
from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.chat.ending import read_ending
from fleet_server.chat.messages import num_chars, read_messages
from fleet_server.generation.conversation import NEW_TURN, Ending
from fleet_server.generation.formats.fields import read_format
from fleet_server.generation.options import (
    GenerationOptions,
    check_max_tokens,
    default_max_tokens,
    read_options,
)
from fleet_server.generation.tools import CHAT_TOOLS, read_tools
from fleet_server.protocols import Message
from fleet_web.errors import from_validation


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated request. `image_urls` are in the order of their parts in `messages`."""

    messages: list[Message]
    image_urls: list[str]
    options: GenerationOptions
    variables: dict[str, Any]
    effort: str | None
    ending: Ending = NEW_TURN

    @property
    def num_chars(self) -> int:
        """Length of the prompt's texts."""
        return num_chars(self.messages) + self.options.tools.num_chars


def parse(body: dict[str, Any], spec: ModelSpec) -> ChatRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    try:
        given = ChatBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    messages, image_urls = read_messages(given.messages, spec)
    tools = read_tools(given.tools, given.tool_choice, given.parallel_tool_calls, CHAT_TOOLS)
    options = replace(
        read_options(given, spec, _max_tokens(given, spec)),
        output=read_format(given),
        tools=tools,
        logprobs=_logprobs(given),
        reasoning_tokens=_reasoning_tokens(given),
    )
    variables = dict(given.chat_template_kwargs or {})
    ending = read_ending(given.add_generation_prompt, given.continue_final_message, messages)
    return ChatRequest(messages, image_urls, options, variables, given.reasoning_effort, ending)


def _logprobs(given: ChatBody) -> int | None:
    if given.logprobs:
        return given.top_logprobs or 0
    if given.top_logprobs:
        raise BadRequest("'top_logprobs' requires 'logprobs'.", param="top_logprobs")
    return None


def _reasoning_tokens(given: ChatBody) -> int | None:
    for requested in (given.thinking_budget, given.thinking_token_budget):
        if requested is not None:
            return None if requested < 0 else requested
    return None


def _max_tokens(given: ChatBody, spec: ModelSpec) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        requested: int | None = getattr(given, name)
        if requested is not None:
            return check_max_tokens(requested, name, spec)
    return default_max_tokens(spec)
