"""Renders responses (platform.openai.com/docs/api-reference/responses and -streaming)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from fleet_contract.api.generation import TokenScore
from fleet_contract.api.responses import (
    Failure,
    Response,
    ResponseUsage,
    TextFormat,
    TextOptions,
)
from fleet_contract.api.tools import Namespace, ResponseTool
from fleet_contract.errors import FleetError
from fleet_server.generation.choices import Choice
from fleet_server.generation.logprobs import Part, ScoredToken
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    message_of,
)
from fleet_server.generation.render import Counts, Renderer
from fleet_server.generation.stream import Update
from fleet_server.generation.timings import Timings
from fleet_server.protocols import Finish
from fleet_server.responses.items import Item
from fleet_server.responses.request import ResponsesRequest

Status = Literal["completed", "incomplete"]


class ResponseRenderer(Renderer):
    """A `response`, or its events. A stream ends with the event `response.completed`,
    `response.incomplete` or `response.failed`; there is no `[DONE]`."""

    def __init__(self, model: str, parsed: ResponsesRequest) -> None:
        super().__init__("resp_", model)
        self._parsed = parsed
        self._items: list[Item] = []
        self._status: Status = "completed"
        self._events = 0
        self._scored = parsed.options.logprobs is not None
        self._scores: list[ScoredToken] = []
        """Of tokens that have no text yet."""
        self._names = {
            tool.name: (tool.namespace, tool.local_name) for tool in parsed.options.tools.tools
        }

    def whole(self, choices: Sequence[Choice], counts: Counts) -> Response:
        [choice] = choices
        made, status = message_of(choice.pieces), _status(choice.finish)
        self._scores = choice.logprobs
        if made.reasoning:
            scores = self._taken(Part.REASONING)
            self._items.append(Item("reasoning", [made.reasoning], scores=scores))
        if made.text or not (made.calls or made.reasoning):
            scores = self._taken(Part.TEXT)
            self._items.append(Item("message", [made.text], scores=scores))
        for each in made.calls:
            call = self._call(each.id, each.name)
            call.parts.append(each.arguments)
            self._items.append(call)
        for item in self._items:
            item.status = "completed"
        self._items[-1].status = status
        return self._response(status, usage(counts))

    def opening(self, index: int) -> bytes:
        """The events before the first item."""
        begun = self._response("in_progress")
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def update(self, update: Update) -> Iterator[bytes]:
        self._scores += [each for each in update.logprobs if each.part is not Part.CALL]
        for piece in update.pieces:
            yield from self._piece(piece)
        if update.finish is not None:
            self._status = _status(update.finish)

    def closing(self, counts: Counts, timings: Timings) -> Iterator[bytes]:
        if not self._items:
            yield from self._open(Item("message"))
        yield from self._close(self._status)
        whole = self._response(self._status, usage(counts))
        yield self._event(f"response.{self._status}", response=whole)

    def failure(self, error: FleetError) -> bytes:
        failed: Failure = {"code": "server_error", "message": error.message}
        if self._items:
            self._items[-1].status = "incomplete"
        whole = self._response("failed", error=failed)
        return self._event("response.failed", response=whole)

    def _piece(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Text(text):
                yield from self._within("message")
                scores = self._added(Part.TEXT) or []
                yield self._in_part("response.output_text.delta", delta=text, logprobs=scores)
            case Reasoning(text):
                yield from self._within("reasoning")
                found = self._added(Part.REASONING)
                more = {} if found is None else {"logprobs": found}
                yield self._in_part("response.reasoning_text.delta", delta=text, **more)
            case CallStart(_, call_id, name):
                yield from self._open(self._call(call_id, name))
                return
            case CallArguments(_, text):
                yield self._in_item("response.function_call_arguments.delta", delta=text)
        self._items[-1].parts.append(text)

    def _call(self, call_id: str, name: str) -> Item:
        """An item for the call of a function, by the name that the model has for it."""
        namespace, name = self._names.get(name, (None, name))
        return Item("function_call", [], call_id, name, namespace)

    def _added(self, part: Part) -> list[TokenScore] | None:
        """The scores of the tokens of a part so far, which are added to the last item."""
        found = self._taken(part)
        if found is not None:
            item = self._items[-1]
            item.scores = [] if item.scores is None else item.scores
            item.scores += found
        return found

    def _taken(self, part: Part) -> list[TokenScore] | None:
        """The scores of the tokens of a part, None if they are not wanted."""
        if not self._scored:
            return None
        found = [token.json() for token in self._scores if token.part is part]
        self._scores = [token for token in self._scores if token.part is not part]
        return found

    def _within(self, kind: Literal["message", "reasoning"]) -> Iterator[bytes]:
        """Open an item of `kind`, unless the last one is."""
        if not self._items or self._items[-1].kind != kind:
            yield from self._open(Item(kind))

    def _open(self, item: Item) -> Iterator[bytes]:
        if self._items:
            yield from self._close("completed")
        self._items.append(item)
        yield self._event(
            "response.output_item.added", output_index=len(self._items) - 1, item=item.added()
        )
        if item.kind != "function_call":
            yield self._in_part("response.content_part.added", part=item.part(""))

    def _close(self, status: Status) -> Iterator[bytes]:
        """End the last item."""
        item = self._items[-1]
        item.status = status
        if item.kind == "function_call":
            yield self._in_item("response.function_call_arguments.done", arguments=item.text)
        else:
            if item.kind == "message":
                yield self._in_part(
                    "response.output_text.done", text=item.text, logprobs=item.scores or []
                )
            else:
                yield self._in_part("response.reasoning_text.done", text=item.text)
            yield self._in_part("response.content_part.done", part=item.part(item.text))
        yield self._event(
            "response.output_item.done", output_index=len(self._items) - 1, item=item.output()
        )

    def _in_part(self, kind: str, **more: Any) -> bytes:
        return self._in_item(kind, content_index=0, **more)

    def _in_item(self, kind: str, **more: Any) -> bytes:
        """An event of the last item."""
        return self._event(
            kind, item_id=self._items[-1].id, output_index=len(self._items) - 1, **more
        )

    def _event(self, kind: str, **more: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._events, **more}
        self._events += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"

    def _response(
        self,
        status: Literal["in_progress", "completed", "incomplete", "failed"],
        used: ResponseUsage | None = None,
        error: Failure | None = None,
    ) -> Response:
        given, options = self._parsed.given, self._parsed.options
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": (
                {"reason": "max_output_tokens"} if status == "incomplete" else None
            ),
            "instructions": given.instructions,
            "max_output_tokens": given.max_output_tokens,
            "model": self._model,
            "output": [item.output() for item in self._items],
            "parallel_tool_calls": given.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {
                "effort": given.reasoning.effort if given.reasoning else None,
                "summary": None,
            },
            "store": False,
            "temperature": options.temperature,
            "text": {"format": _format(given.text)},
            "tool_choice": given.tool_choice or "auto",
            "tools": [_shown(tool) for tool in given.tools or []],
            "top_p": options.top_p,
            "truncation": "disabled",
            "user": given.user,
            "metadata": given.metadata or {},
            "usage": used,
        }


def early_failure(error: FleetError) -> bytes:
    """The event `error` of a stream that fails before `response.created`."""
    body = error.body()["error"]
    data = {
        "type": "error", "sequence_number": 0, "code": body["code"], "message": body["message"],
        "param": body["param"],
    }  # fmt: skip
    return b"event: error\ndata: " + orjson.dumps(data) + b"\n\n"


def usage(counts: Counts) -> ResponseUsage:
    """Token counts of a response."""
    cached = counts.cached_tokens or 0
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens or 0},
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }


def _format(given: TextOptions | None) -> TextFormat:
    """The format of the request, with all fields of its kind."""
    form = given.format if given else None
    if form is None or form.type == "text":
        return {"type": "text"}
    if form.type == "json_object":
        return {"type": "json_object"}
    return {
        "type": "json_schema", "name": form.name, "description": form.description,
        "strict": form.strict, "schema": form.json_schema,
    }  # fmt: skip


def _shown(tool: ResponseTool | Namespace) -> dict[str, Any]:
    """A tool as OpenAI's API returns it, with all fields."""
    if tool["type"] == "namespace":
        functions = [_shown(each) for each in tool["tools"]]
        return {**tool, "description": tool.get("description") or "", "tools": functions}
    return {"description": None, "parameters": None, "strict": None, **tool}


def _status(finish: Finish) -> Status:
    return "incomplete" if finish == Finish.LENGTH else "completed"
