"""Checks chat completions, streamed and not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from traffic.http import events, json_body
from traffic.kind import BadResponse, Call

PATH = "/chat/completions"
REASONS = ("stop", "length")
QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "How many days has a week?",
    "Tell a short story about a cat.",
)


@dataclass(frozen=True, slots=True)
class ChatStream:
    """Sends questions in turn. A valid stream has one id, a finish reason, a token count and the
    end mark; `word` must be in the response to the first question.
    """

    model: str
    max_tokens: int = 24
    word: str = ""
    name: str = "chat stream"

    async def send(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises BadResponse."""
        body = _body(self.model, self.max_tokens, call) | {
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        text, finish, tokens, ids = "", None, 0, set()
        async for event in events(http, call, PATH, body):
            ids.add(event.get("id"))
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            for choice in event.get("choices", ()):
                if finish is not None:
                    raise BadResponse("text after the finish reason")
                text += choice["delta"].get("content") or ""
                finish = choice.get("finish_reason")
        if len(ids) > 1:
            raise BadResponse("events of several responses")
        _check(text, finish, tokens, self.word if call.number % len(QUESTIONS) == 0 else "")


@dataclass(frozen=True, slots=True)
class WholeChat:
    """Like ChatStream, without streaming."""

    model: str
    max_tokens: int = 24
    word: str = ""
    name: str = "chat"

    async def send(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises BadResponse."""
        body = await json_body(http, call, PATH, json=_body(self.model, self.max_tokens, call))
        try:
            (choice,) = body["choices"]
            text, finish = choice["message"]["content"], choice["finish_reason"]
            tokens = body["usage"]["completion_tokens"]
        except (KeyError, TypeError, ValueError):
            raise BadResponse("a response of another shape") from None
        _check(text, finish, tokens, self.word if call.number % len(QUESTIONS) == 0 else "")


def _body(model: str, max_tokens: int, call: Call) -> dict[str, Any]:
    question = QUESTIONS[call.number % len(QUESTIONS)]
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }


def _check(text: Any, finish: Any, tokens: Any, word: str) -> None:
    if finish not in REASONS:
        raise BadResponse(f"the finish reason is {finish!r}")
    if not isinstance(text, str) or not text.strip():
        raise BadResponse("the response is empty")
    if not isinstance(tokens, int) or tokens < 1:
        raise BadResponse("no tokens in the usage")
    if word and word.lower() not in text.lower():
        raise BadResponse(f"{word!r} is not in {text[:100]!r}")
