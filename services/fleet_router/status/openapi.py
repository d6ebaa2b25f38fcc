"""The OpenAPI document of the router.

Paths come from fleet_router.routing.paths, schemas from this project's own servers; fields that
only other engines know are passed through and not described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api import chat, completions, messages, responses
from fleet_contract.api.chat import ChatBody
from fleet_contract.api.completions import CompletionBody
from fleet_contract.api.messages import MessagesBody
from fleet_contract.api.responses import ResponsesBody
from fleet_contract.names import HEADER_ENDPOINT
from fleet_router.routing.paths import PATHS
from fleet_web.openapi import admin, inference
from fleet_web.openapi.document import build
from fleet_web.openapi.operation import EVENTS, JSON, MediaType, Operation
from fleet_web.openapi.parts import Json

DESCRIPTION = (
    "One address for all models of a fleet. `model` selects one by id or alias (GET /v1/models); "
    "it may be omitted if only one model has the task of the path."
)


class PassedOn(TypedDict):
    """Whatever the model's engine accepts; the router reads only `model`."""

    model: NotRequired[str | None]


def _free(names: Iterable[str]) -> Callable[[dict[str, Any]], None]:
    def describe(schema: dict[str, Any]) -> None:
        for name in names:
            schema["properties"][name] = {
                "description": "For the engines vllm, container and remote; others refuse values "
                "that would have an effect with `unsupported_parameter`."
            }

    return describe


class PassedChat(ChatBody):
    """The parameters that this project's own engines support, and others of OpenAI's."""

    model_config = ConfigDict(json_schema_extra=_free(chat.NO_OP_VALUES))


class PassedCompletion(CompletionBody):
    """As PassedChat, for text completions."""

    prompt: SkipValidation[completions.Prompts] = Field(examples=["Once upon a time"])
    """The text to continue, or several; more than 16 are for engines that accept them."""


class PassedResponses(ResponsesBody):
    """As PassedChat, for responses."""

    model_config = ConfigDict(json_schema_extra=_free(responses.NO_OP_VALUES))

    input: Any = Field(default=None, examples=["Name a colour."])
    """A user message or a conversation; other items are for engines that accept them."""


class PassedMessages(MessagesBody):
    """As PassedChat, for messages."""

    model_config = ConfigDict(json_schema_extra=_free(messages.NO_OP_VALUES))


PASSED = {
    "/v1/chat/completions": PassedChat,
    "/v1/completions": PassedCompletion,
    "/v1/responses": PassedResponses,
    "/v1/messages": PassedMessages,
}
"""Bodies for which other engines accept more than this project's own."""


def document(*, guarded: bool, with_metrics: bool) -> Json:
    """The OpenAPI document of a router; with `guarded`, callers need an API key."""
    listed = operations(guarded=guarded, with_metrics=with_metrics)
    return build("Modelfleet", DESCRIPTION, listed, guarded=guarded)


def operations(*, guarded: bool, with_metrics: bool) -> Iterable[Operation]:
    """Every operation of a router."""
    for path in PATHS:
        known = inference.BY_PATH.get(path) or _other(path)
        if path in PASSED:
            known = replace(known, body=MediaType(JSON, PASSED[path]))
        more = {502, 507, 508} | ({401, 403} if guarded else set())
        yield replace(
            known,
            headers=(*inference.RESPONSE_HEADERS, HEADER_ENDPOINT),
            errors=known.errors | more,
        )
    yield from admin.router_operations(guarded=guarded, with_metrics=with_metrics)


def _other(path: str) -> Operation:
    return Operation(
        path, "post", "other engines", "Forwarded to engines that support it.",
        description="For models of the engines vllm, container and remote; this project's own "
        "servers respond with 404.",
        body=MediaType(JSON, PassedOn), responses=(MediaType(JSON, Any), MediaType(EVENTS, Any)),
        errors=inference.ERRORS,
    )  # fmt: skip
