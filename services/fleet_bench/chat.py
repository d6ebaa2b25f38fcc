"""The chat workload: time to first token, gaps between chunks, tokens per second."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from fleet_bench.http import events, post_json
from fleet_bench.sample import Failed, ResponseStats
from fleet_bench.settings import BenchSettings
from fleet_bench.words import text


@dataclass(frozen=True, slots=True)
class Chat:
    """Sends `prompt`, or distinct texts of `words` words, and generates `max_tokens` tokens."""

    settings: BenchSettings
    prompt: str | None
    words: int
    max_tokens: int
    temperature: float
    stream: bool = True

    async def send(self, http: httpx.AsyncClient, number: int) -> ResponseStats:
        """Send one request; the response must hold text and a token count. Raises Failed.

        A stream ends with `[DONE]` or, at servers that do not send it, after a finish reason.
        """
        url = f"{self.settings.root}/chat/completions"
        if not self.stream:
            return _whole(await post_json(http, url, json=self._body(number)))
        stats, content, ended = ResponseStats(), False, False
        started = last = time.perf_counter()
        async for data in events(http, url, self._body(number)):
            if data == b"[DONE]":
                ended = True
                break
            event = _event(data)
            if _text(event):
                now = time.perf_counter()
                if stats.first is None:
                    stats.first = now - started
                else:
                    stats.gaps.append(now - last)
                last, content = now, True
            ended = ended or _finished(event)
            if isinstance(usage := event.get("usage"), dict):
                _count(stats, usage)
        if not ended:
            raise Failed("stream without an end")
        return _checked(stats, content)

    def _body(self, number: int) -> dict[str, Any]:
        content = self.prompt or f"Tell a long story about: {text(number, self.words)}"
        body: dict[str, Any] = {
            "model": self.settings.model,
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
        raise Failed("event is not JSON") from None
    if not isinstance(event, dict):
        raise Failed("event is not a JSON object")
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


def _whole(body: dict[str, Any]) -> ResponseStats:
    stats = ResponseStats()
    try:
        content = bool(body["choices"][0]["message"]["content"])
        _count(stats, body["usage"])
    except (KeyError, IndexError, TypeError):
        raise Failed("unexpected response shape") from None
    return _checked(stats, content)


def _count(stats: ResponseStats, usage: dict[str, Any]) -> None:
    stats.tokens = int(usage.get("completion_tokens") or 0)
    stats.prompt_tokens = int(usage.get("prompt_tokens") or 0)


def _checked(stats: ResponseStats, content: bool) -> ResponseStats:
    if not content:
        raise Failed("empty response")
    if not stats.tokens:
        raise Failed("no token count in usage")
    return stats
