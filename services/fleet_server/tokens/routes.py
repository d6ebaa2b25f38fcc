"""POST /tokenize and /detokenize, for models that read text."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api.tokens import Content, DetokenizeBody, TokenizeBody, TokenPiece, Tokens
from fleet_contract.errors import UnsupportedParameter
from fleet_server.protocols import Vocabulary
from fleet_server.state import ServerState
from fleet_server.tokens.request import parse_detokenize, parse_tokenize
from fleet_server.unknown_fields import count_ignored
from fleet_web.body import read_json
from fleet_web.responses import json_response

PATHS = frozenset({"/tokenize", "/detokenize"})


def router(server: ServerState) -> APIRouter:
    """The token routes of `server`."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        raw, vocabulary = await _read(request, server)
        parsed = parse_tokenize(raw, server.spec.limits.max_text_chars)
        count_ignored(raw, TokenizeBody, server.metrics)
        return json_response(await server.run_blocking(_tokenize, parsed, vocabulary))

    @routes.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        raw, vocabulary = await _read(request, server)
        tokens = parse_detokenize(raw, vocabulary.size)
        count_ignored(raw, DetokenizeBody, server.metrics)
        text: Content = {"content": await server.run_blocking(vocabulary.decode, tokens)}
        return json_response(text)

    return routes


async def _read(request: Request, server: ServerState) -> tuple[dict[str, Any], Vocabulary]:
    raw = await read_json(request, server.spec.limits.max_body_bytes)
    vocabulary: Vocabulary | None = getattr(server.ready_model(), "vocabulary", None)
    server.check_model_of(raw)
    if vocabulary is None:
        raise UnsupportedParameter(
            f"The engine of {server.spec.model!r} does not expose its tokenizer.", param="model"
        )
    return raw, vocabulary


def _tokenize(parsed: TokenizeBody, vocabulary: Vocabulary) -> Tokens:
    ids = vocabulary.encode(parsed.content, parsed.add_special, parsed.parse_special)
    if not parsed.with_pieces:
        return {"tokens": ids}
    pieces: list[TokenPiece] = [
        {"id": token, "piece": _piece(vocabulary.piece(token))} for token in ids
    ]
    return {"tokens": pieces}


def _piece(raw: bytes) -> str | list[int]:
    """Text, or the bytes of a token that is not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
