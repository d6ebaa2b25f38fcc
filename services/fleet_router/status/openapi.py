"""What the router says of its routes in GET /openapi.json; served by `probes`.

The paths are those of fleet_router.routing.paths; the shapes are those of this project's own
servers, and what other engines say besides is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api import chat, completions, responses
from fleet_contract.api.chat import ChatBody
from fleet_contract.api.completions import CompletionBody
from fleet_contract.api.responses import ResponsesBody
from fleet_contract.names import HEADER_ENDPOINT
from fleet_router.routing.paths import PATHS
from fleet_web.openapi import housekeeping, inference
from fleet_web.openapi.document import build
from fleet_web.openapi.operation import EVENTS, JSON, Content, Operation
from fleet_web.openapi.parts import Json

DESCRIPTION = (
    "One address for all models of a fleet; `model` chooses among them, by id or alias (GET "
    "/v1/models), and may be left out where one model only does the task."
)


class PassedOn(TypedDict):
    """Whatever the model's engine takes; the router reads the model's name."""

    model: NotRequired[str | None]


def _free(names: Iterable[str]) -> Callable[[dict[str, Any]], None]:
    def describe(schema: dict[str, Any]) -> None:
        for name in names:
            schema["properties"][name] = {
                "description": "For engines that honour it (vllm, container, remote); others "
                "refuse it with `unsupported_parameter` unless it asks for nothing."
            }

    return describe


class PassedChat(ChatBody):
    """The parameters this project's own engines honour, and further ones of OpenAI's."""

    model_config = ConfigDict(json_schema_extra=_free(chat.NO_OP_VALUES))


class PassedCompletion(CompletionBody):
    """The same of text completions."""

    model_config = ConfigDict(json_schema_extra=_free(completions.NO_OP_VALUES))

    prompt: SkipValidation[completions.Prompts] = Field(examples=["Once upon a time"])
    """What the text goes on from, as it is; more than one prompt is for engines that take it."""


class PassedResponses(ResponsesBody):
    """The same of responses."""

    model_config = ConfigDict(json_schema_extra=_free(responses.NO_OP_VALUES))

    input: Any = Field(default=None, examples=["Name a colour."])
    """A user's message, or the conversation; other items are for engines that take them."""


PASSED = {
    "/v1/chat/completions": PassedChat,
    "/v1/completions": PassedCompletion,
    "/v1/responses": PassedResponses,
}
"""Bodies of which other engines take more than this project's own."""


def document(*, guarded: bool, with_metrics: bool) -> Json:
    """The OpenAPI document of a router; `guarded` where it asks callers for keys."""
    listed = operations(guarded=guarded, with_metrics=with_metrics)
    return build("Modelfleet", DESCRIPTION, listed, guarded=guarded)


def operations(*, guarded: bool, with_metrics: bool) -> Iterable[Operation]:
    """Everything a router answers."""
    for path in PATHS:
        known = inference.BY_PATH.get(path) or _other(path)
        if path in PASSED:
            known = replace(known, body=Content(JSON, PASSED[path]))
        more = {401, 403, 502} if guarded else {502}
        yield replace(
            known, headers=(*inference.ANSWERED, HEADER_ENDPOINT), errors=known.errors | more
        )
    yield from housekeeping.of_router(guarded=guarded, with_metrics=with_metrics)


def _other(path: str) -> Operation:
    return Operation(
        path, "post", "other engines", "Passed on to engines that serve it.",
        description="For models of the engines vllm, container and remote; this project's own "
        "answer 404.",
        body=Content(JSON, PassedOn), answers=(Content(JSON, Any), Content(EVENTS, Any)),
        errors=inference.ERRORS,
    )  # fmt: skip
