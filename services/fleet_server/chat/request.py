"""The body of POST /v1/chat/completions: strict types in, one frozen request out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.chat import ChatBody, ResponseFormat
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import read_messages
from fleet_server.chat.schema_grammar import grammar
from fleet_server.protocols import Message, Sampling
from fleet_web.errors import from_validation

LAST_RESORT_MAX_TOKENS = 512
MAX_STOP_CHARS = 4096


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asked, checked. `image_urls` are in order of their parts in `messages`."""

    messages: list[Message]
    image_urls: list[str]
    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    seed: int | None
    presence_penalty: float
    frequency_penalty: float
    json_object: bool
    grammar: str | None

    def sampling(self, room: int) -> Sampling:
        """How to sample, with at most `room` new tokens."""
        return Sampling(
            max_tokens=min(self.max_tokens, room),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            json_object=self.json_object,
            grammar=self.grammar,
        )


def parse(body: dict[str, Any], spec: ModelSpec) -> ChatRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    try:
        given = ChatBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    if given.n not in (None, 1):
        raise UnsupportedParameter("'n' must be 1: one answer per request.", param="n")
    messages, image_urls = read_messages(given.messages, spec)
    return ChatRequest(
        messages=messages,
        image_urls=image_urls,
        max_tokens=_max_tokens(given, spec),
        temperature=_first(given.temperature, spec.defaults.temperature, 1.0),
        top_p=_first(given.top_p, spec.defaults.top_p, 1.0),
        stop=_stop(given.stop, spec),
        stream=bool(given.stream),
        include_usage=bool(given.stream_options and given.stream_options.include_usage),
        seed=given.seed,
        presence_penalty=given.presence_penalty or 0.0,
        frequency_penalty=given.frequency_penalty or 0.0,
        json_object=bool(given.response_format and given.response_format.type == "json_object"),
        grammar=_grammar(given.response_format),
    )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _max_tokens(given: ChatBody, spec: ModelSpec) -> int:
    limit = spec.limits.max_new_tokens
    for name in ("max_completion_tokens", "max_tokens"):
        asked: int | None = getattr(given, name)
        if asked is None:
            continue
        if asked > limit:
            raise BadRequest(
                f"{name!r} is {asked}; this server writes at most {limit} new tokens.", param=name
            )
        return asked
    return min(spec.defaults.max_tokens or LAST_RESORT_MAX_TOKENS, limit)


def _stop(stop: str | list[str] | None, spec: ModelSpec) -> tuple[str, ...]:
    words = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(words) > spec.limits.max_stop:
        raise BadRequest(
            f"'stop' has {len(words)} strings; at most {spec.limits.max_stop} are accepted.",
            param="stop",
        )
    if not all(words):
        raise BadRequest("'stop' must not hold an empty string.", param="stop")
    if (longest := max(map(len, words), default=0)) > MAX_STOP_CHARS:
        raise BadRequest(
            f"'stop' has a string of {longest} characters; at most {MAX_STOP_CHARS} are accepted.",
            param="stop",
        )
    return words


def _grammar(given: ResponseFormat | None) -> str | None:
    if given is None or given.type != "json_schema":
        return None
    place = "response_format.json_schema"
    if given.json_schema is None:
        raise BadRequest(f"Missing required parameter: {place!r}.", param=place, code="missing")
    return grammar(given.json_schema.json_schema, f"{place}.schema")
