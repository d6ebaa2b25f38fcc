"""Checks a chat against the server's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_server.chat.request import ChatRequest, parse
from fleet_server.chat.tool_messages import uses_tools
from fleet_server.generation.conversation import Conversation, conversation
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.parameters import CHAT, check_budget, with_calls, without_tools
from fleet_server.protocols import ChatModel
from fleet_server.state import ServerState


@dataclass(frozen=True, slots=True)
class CheckedChat:
    """A request that the model supports; `options` include the format of calls."""

    parsed: ChatRequest
    options: GenerationOptions
    chat: Conversation


def check(server: ServerState, body: dict[str, Any], model: ChatModel) -> CheckedChat:
    """The chat in `body`. Raises BadRequest with `param`."""
    server.check_model_of(body)
    parsed = parse(body, server.spec)
    CHAT.check(body, model.supports, server.metrics, extra=server.spec.limits.extra_sampling)
    check_budget(body, model)
    if "tools" not in model.supports and uses_tools(parsed.messages):
        raise without_tools("messages")
    options = with_calls(parsed.options, model)
    chat = conversation(
        model, parsed.messages, options, parsed.effort, parsed.variables, parsed.ending
    )
    return CheckedChat(parsed, options, chat)
