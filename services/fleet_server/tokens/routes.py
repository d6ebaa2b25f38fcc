"""POST /tokenize and /detokenize for models that read text, and for chats /apply-template and
/v1/chat/completions/render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from fleet_contract.api.base import JsonBody
from fleet_contract.api.chat import ChatBody
from fleet_contract.api.tokens import (
    Content,
    DetokenizeBody,
    TemplateBody,
    TokenizeBody,
    TokenizeChatBody,
    TokenPiece,
    Tokens,
)
from fleet_contract.errors import UnsupportedParameter, WrongTask
from fleet_contract.spec import Task
from fleet_server.admission import Admission
from fleet_server.protocols import Vocabulary
from fleet_server.state import ServerState
from fleet_server.tokens.conversation import PromptReader
from fleet_server.tokens.dry_run import dry_run
from fleet_server.tokens.request import check_tokens, parse_detokenize, parse_tokenize
from fleet_server.unknown_fields import count_ignored
from fleet_server.worker_pool import WorkerPool
from fleet_web.body import read_json
from fleet_web.client import run_while_connected
from fleet_web.responses import json_response

Work = Callable[[], Response]
Checked = tuple[type[JsonBody], Work]
"""The type with the known fields of a body, and the work for it."""

PATHS = frozenset({"/tokenize", "/detokenize"})


def router(server: ServerState) -> APIRouter:
    """The token routes of `server`."""
    service = TokenService(server)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    routes = APIRouter(lifespan=lifespan)

    def of_chat(raw: dict[str, Any], known: type[TemplateBody]) -> PromptReader:
        return PromptReader(raw, known, server.spec, server.ready_model(), service.vocabulary)

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        def checked(raw: dict[str, Any]) -> Checked:
            if "messages" in raw and "content" not in raw:
                if server.spec.task is not Task.CHAT:
                    raise WrongTask(
                        f"The model {server.spec.model!r} has no chat template; send a text in "
                        f"'content'.",
                        param="messages",
                    )
                return TokenizeChatBody, of_chat(raw, TokenizeChatBody).tokens
            parsed = parse_tokenize(raw, server.spec.limits.max_text_chars)
            return TokenizeBody, partial(_tokenized, parsed, service.vocabulary)

        return await service.respond(request, checked)

    @routes.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        def checked(raw: dict[str, Any]) -> Checked:
            return DetokenizeBody, partial(_text, parse_detokenize(raw), service.vocabulary)

        return await service.respond(request, checked)

    if server.spec.task is Task.CHAT:

        @routes.post("/apply-template")
        async def apply_template(request: Request) -> Response:
            def checked(raw: dict[str, Any]) -> Checked:
                return ChatBody, of_chat(raw, TemplateBody).text

            return await service.respond(request, checked)

        @routes.post("/v1/chat/completions/render")
        async def render(request: Request) -> Response:
            def checked(raw: dict[str, Any]) -> Checked:
                return ChatBody, dry_run(server, raw, server.ready_model())

            return await service.respond(request, checked, counted=False)

    return routes


class TokenService:
    """Runs one request at a time in a thread of its own: tokenising a long text takes seconds, for
    which neither the event loop nor the model's requests wait."""

    def __init__(self, server: ServerState) -> None:
        limits = server.spec.limits
        self._server = server
        self._pool = WorkerPool(
            Admission(1, limits.max_queue_size, limits.request_timeout, limits.queue_share)
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's tokenizer. Raises NotReady and UnsupportedParameter."""
        found: Vocabulary | None = getattr(self._server.ready_model(), "vocabulary", None)
        if found is None:
            raise UnsupportedParameter(
                f"The engine of {self._server.spec.model!r} does not expose its tokenizer.",
                param="model",
            )
        return found

    async def respond(
        self,
        request: Request,
        checked: Callable[[dict[str, Any]], Checked],
        *,
        counted: bool = True,
    ) -> Response:
        """The result of the work that `checked` returns for the body of a request, whose unknown
        fields are `counted` here.

        Raises FleetErrors and ClientDisconnect.
        """
        server = self._server
        raw = await read_json(request, server.spec.max_body_bytes)
        server.ready_model()
        server.check_model_of(raw)
        known, work = checked(raw)
        if counted:
            count_ignored(raw, known.model_fields, server.metrics)
        del raw  # a body may be large, and the request may wait
        return await run_while_connected(request, self._pool.run(work))

    def close(self) -> None:
        """Stop the thread."""
        self._pool.close()


def _tokenized(parsed: TokenizeBody, vocabulary: Vocabulary) -> Response:
    ids = vocabulary.encode(parsed.content, parsed.add_special, parsed.parse_special)
    if not parsed.with_pieces:
        return json_response({"tokens": ids})
    # One object for all occurrences of a token: a text has far fewer distinct tokens than tokens.
    pieces: dict[int, TokenPiece] = {
        token: {"id": token, "piece": _piece(vocabulary.piece(token))} for token in set(ids)
    }
    content: Tokens = {"tokens": [pieces[token] for token in ids]}
    return json_response(content)


def _text(tokens: list[int], vocabulary: Vocabulary) -> Response:
    check_tokens(tokens, vocabulary.size)
    content: Content = {"content": vocabulary.decode(tokens)}
    return json_response(content)


def _piece(raw: bytes) -> str | list[int]:
    """Text, or the bytes of a token that is not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
