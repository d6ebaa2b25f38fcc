"""Chat answers, streamed: time to first token, gaps between pieces, tokens per second."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from fleet_bench.http import events, post_json
from fleet_bench.plan import Plan
from fleet_bench.sample import Answer, Failed
from fleet_bench.words import text


@dataclass(frozen=True, slots=True)
class Chat:
    """Asks `prompt`, or distinct texts of `words` words, for `max_tokens` new tokens."""

    plan: Plan
    prompt: str | None
    words: int
    max_tokens: int
    temperature: float
    stream: bool = True

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        """One answer, checked: some text, and tokens counted by the server. Raises Failed.

        A stream ends with OpenAI's end mark, or closes after a finish reason (some servers send no
        mark).
        """
        url = f"{self.plan.root}/chat/completions"
        if not self.stream:
            return _whole(await post_json(http, url, json=self._body(number)))
        answer, content, ended = Answer(), False, False
        started = last = time.perf_counter()
        async for data in events(http, url, self._body(number)):
            if data == b"[DONE]":
                ended = True
                break
            event = _event(data)
            if _text(event):
                now = time.perf_counter()
                if answer.first is None:
                    answer.first = now - started
                else:
                    answer.gaps.append(now - last)
                last, content = now, True
            ended = ended or _finished(event)
            if isinstance(usage := event.get("usage"), dict):
                _count(answer, usage)
        if not ended:
            raise Failed("stream without end")
        return _checked(answer, content)

    def _body(self, number: int) -> dict[str, Any]:
        content = self.prompt or f"Tell a long story about: {text(number, self.words)}"
        body: dict[str, Any] = {
            "model": self.plan.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


def _event(data: bytes) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError:
        raise Failed("event is no JSON") from None
    if not isinstance(event, dict):
        raise Failed("event is no JSON object")
    if "error" in event:
        raise Failed("error in mid-stream")
    return event


def _text(event: dict[str, Any]) -> bool:
    try:
        return bool(event["choices"][0]["delta"].get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _finished(event: dict[str, Any]) -> bool:
    try:
        return event["choices"][0].get("finish_reason") is not None
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _whole(body: dict[str, Any]) -> Answer:
    answer = Answer()
    try:
        content = bool(body["choices"][0]["message"]["content"])
        _count(answer, body["usage"])
    except (KeyError, IndexError, TypeError):
        raise Failed("answer of another shape") from None
    return _checked(answer, content)


def _count(answer: Answer, usage: dict[str, Any]) -> None:
    answer.tokens = int(usage.get("completion_tokens") or 0)
    answer.prompt_tokens = int(usage.get("prompt_tokens") or 0)


def _checked(answer: Answer, content: bool) -> Answer:
    if not content:
        raise Failed("empty answer")
    if not answer.tokens:
        raise Failed("no token count in usage")
    return answer
