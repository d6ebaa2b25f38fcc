"""Single requests that clients were seen to send, with the responses they must get."""

from __future__ import annotations

import gzip
import http.client
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hostile.forms import form, sample
from hostile.target import CHAT, EMBEDDING, Reply, Target

CHAT_PATH = "/v1/chat/completions"
USER = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass(frozen=True)
class Case:
    """`check(target)` raises AssertionError where a response is another than it must be.

    `local` cases need what only the suite's own fleet has.
    """

    name: str
    check: Callable[[Target], None]
    local: bool = False


def chat(target: Target, *, status: int = 200, **fields: Any) -> Reply:
    """The response to a short chat with some fields of its own."""
    body = {"model": CHAT, "messages": USER, "max_tokens": 4, "temperature": 0} | fields
    reply = target.post(CHAT_PATH, body)
    assert reply.status == status, reply
    return reply


def transcribed(target: Target, *fields: tuple[str, str]) -> Reply:
    """The response to a recording with these fields."""
    body, kind = form([("model", target.speech), *fields, ("file", sample())], "a.ogg")
    return target.request("/v1/audio/transcriptions", body, content_type=kind)


def head_like_get(target: Target) -> None:
    """HEAD has the status of GET and no body, as uptime monitors expect."""
    for path in ("/v1/models", f"/v1/models/{CHAT}", "/health", "/livez", "/readyz"):
        got, head = target.get(path), target.request(path, method="HEAD")
        assert (head.status, head.body) == (got.status, b""), (path, head)
        assert got.status == 200 or path == "/health", (path, got)


def encodings(target: Target) -> None:
    """A compressed body is decoded, or refused with a 415 that names the encoding."""
    raw = json.dumps({"model": CHAT, "messages": USER, "max_tokens": 1}).encode()
    for encoding, body in (
        ("gzip", gzip.compress(raw)),
        ("br", b"\x8b\x00\x80abc\x03"),
        ("unknown", raw),
    ):
        reply = target.request(CHAT_PATH, body, content_encoding=encoding)
        if reply.status == 415:
            assert encoding in reply.message(), reply
        else:
            assert (reply.status, encoding) == (200, "gzip"), reply


def not_utf8(target: Target) -> None:
    """A body in another encoding than UTF-8 is refused by that name."""
    for encoding in ("latin-1", "utf-16"):
        body = json.dumps({"model": CHAT, "messages": USER, "user": "é"}, ensure_ascii=False)
        reply = target.request(CHAT_PATH, body.encode(encoding))
        assert reply.status == 400, reply
        assert "UTF-8" in reply.message(), reply
        assert "surrogate" not in reply.message(), reply


def cohere_path(target: Target) -> None:
    """POST /v2/rerank is a path of its own."""
    body = {"model": EMBEDDING, "query": "a", "documents": ["b"]}
    reply = target.post("/v2/rerank", body)
    assert reply.status in (200, 400, 404), reply
    assert reply.status == 200 or reply.json()["error"]["code"] != "not_found", reply


def empty_fields(target: Target) -> None:
    """An empty field of a form means that it is not given."""
    for name in ("language", "temperature", "response_format", "stream", "prompt"):
        reply = transcribed(target, (name, ""))
        assert reply.status == 200, (name, reply)
        assert reply.json()["text"], reply


def other_granularities(target: Target) -> None:
    """`timestamp_granularities[0]`, as some clients write it, is honoured or refused."""
    for name in ("timestamp_granularities[0]", "timestamp_granularities"):
        reply = transcribed(target, ("response_format", "verbose_json"), (name, "word"))
        assert reply.status == 400 or reply.json().get("words"), (name, reply)


def unnormalised(target: Target) -> None:
    """`normalize: false` is honoured or refused."""
    reply = target.post("/v1/embeddings", {"model": EMBEDDING, "input": "a", "normalize": False})
    if reply.status == 200:
        norm = math.hypot(*reply.json()["data"][0]["embedding"])
        assert abs(norm - 1) > 1e-3, norm
    else:
        assert reply.status == 400, reply


def other_tokenizer(target: Target) -> None:
    """Token ids without the special tokens of the model are refused, those with them are taken."""
    body = {"model": EMBEDDING, "input": [[15339, 1917]]}
    assert target.post("/v1/embeddings", body).status == 400
    body = {"model": EMBEDDING, "input": [[101, 7592, 2088, 102]]}
    assert target.post("/v1/embeddings", body).status == 200


def empty_turns(target: Target) -> None:
    """An assistant turn without content is an empty text."""
    turns: list[dict[str, Any]] = [{"content": None}, {"content": []}, {"content": ""}, {}]
    for turn in turns:
        chat(target, messages=[*USER, {"role": "assistant", **turn}, *USER])


def large_max_tokens(target: Target) -> None:
    """A `max_tokens` beyond the room left is cut."""
    for name in ("max_tokens", "max_completion_tokens"):
        fields: dict[str, Any] = {"max_tokens": None, name: 32_000, "stop": ["Paris", "."]}
        chat(target, **fields)


def odd_sampling(target: Target) -> None:
    """Negative and huge seeds and tiny temperatures are taken; the latter are greedy."""
    for seed in (-1, -(2**63), 2**63 - 1):
        chat(target, seed=seed, temperature=1)
    greedy = chat(target, max_tokens=8).json()["choices"][0]["message"]["content"]
    for temperature in (5e-324, 1e-40, 1e-300):
        found = chat(target, max_tokens=8, temperature=temperature).json()
        assert found["choices"][0]["message"]["content"] == greedy, (temperature, found)


def nulls(target: Target) -> None:
    """Objects whose only member is null ask for nothing."""
    empty: list[dict[str, Any]] = [
        {"reasoning": {"effort": None}},
        {"text": {"verbosity": None}},
        {"reasoning": {}},
        {"text": {}},
    ]
    for fields in empty:
        body = {"model": CHAT, "input": "Hi.", "max_output_tokens": 16, **fields}
        reply = target.post("/v1/responses", body)
        assert reply.status == 200, (fields, reply)
    chat(target, stream_options=None, reasoning_effort=None, verbosity=None)


def special_text(target: Target) -> None:
    """A special token in a user's text is text: it takes several tokens."""
    plain, special = (
        chat(target, messages=[{"role": "user", "content": text}]).json()["usage"]["prompt_tokens"]
        for text in ("ab", "a<|im_end|>b")
    )
    assert special - plain >= 4, (plain, special)


def broken_recordings(target: Target) -> None:
    """A refusal names what is wrong with the upload."""
    body, kind = form([("model", target.speech), ("file", b"\x1aE\xdf\xa3\x01\x00")], "a.webm")
    reply = target.request("/v1/audio/transcriptions", body, content_type=kind)
    assert reply.status == 400, reply
    assert "Input/output error" not in reply.message(), reply
    body, kind = form([("model", target.speech), ("audio", bytes(100_000))])
    reply = target.request("/v1/audio/transcriptions", body, content_type=kind)
    assert reply.status == 400, reply
    assert "file" in reply.message(), reply


def guarded(target: Target) -> None:
    """Metrics and health name no key or model to a client without a key."""
    for path in ("/metrics", "/health"):
        try:
            reply = target.get(path, key="")
        except (ConnectionError, http.client.HTTPException):
            continue
        text = reply.body.decode(errors="replace")
        assert CHAT not in text, path
        assert "attacker" not in text, path


def narrow_fallback(target: Target) -> None:
    """A fallback does not lead to a model that the key may not use."""
    body = {"model": "hostile/stopped", "messages": USER, "max_tokens": 1}
    reply = target.post(CHAT_PATH, body, key=target.extras["narrow_key"])
    assert reply.status in (403, 404, 503), reply
    assert target.post(CHAT_PATH, body).headers["x-modelfleet-fallback"] == "hostile/stopped"


def one_model_field(target: Target) -> None:
    """A provider gets one field `model`, its own key, and nothing of the caller's identity."""
    remote = target.extras["remote"]
    for second in ("", "model", "Model"):
        remote.seen.clear()
        fields = [(second, "expensive-model")] if second else []
        body, kind = form([("model", "hostile/remote"), *fields, ("file", sample())])
        reply = target.request(
            "/v1/audio/transcriptions", body, content_type=kind, x_api_key="mine",
            x_modelfleet_caller="0123456789abcdef", api_key="mine", x_forwarded_for="mine",
        )  # fmt: skip
        if second:
            assert reply.status == 400, reply
            assert not remote.seen
            continue
        assert reply.status == 200, reply
        ((headers, sent),) = remote.seen
        assert len(re.findall(rb'name="model"', sent, re.IGNORECASE)) == 1, sent[:500]
        assert "provider-key" in headers["authorization"]
        assert "mine" not in headers.values(), headers
        assert not [name for name in headers if name.startswith("x-modelfleet-caller")], headers


def loop(target: Target) -> None:
    """A remote model that leads back to the router ends after one hop."""
    body = {"model": "hostile/loop", "messages": USER, "max_tokens": 1}
    reply = target.post(CHAT_PATH, body, key=target.caller_key, patience=30)
    assert reply.status in (400, 421, 502, 508), reply


CASES = (
    Case("HEAD on every GET route", head_like_get),
    Case("compressed bodies", encodings),
    Case("bodies that are not UTF-8", not_utf8),
    Case("Cohere's path", cohere_path),
    Case("empty fields of a form", empty_fields),
    Case("other spellings of granularities", other_granularities),
    Case("vectors that are not normalised", unnormalised),
    Case("token ids of another tokenizer", other_tokenizer),
    Case("assistant turns without content", empty_turns),
    Case("a large max_tokens", large_max_tokens),
    Case("odd seeds and temperatures", odd_sampling),
    Case("objects of nulls", nulls),
    Case("special tokens in a text", special_text),
    Case("broken recordings", broken_recordings),
    Case("metrics and health without a key", guarded),
    Case("a fallback the key may not use", narrow_fallback, local=True),
    Case("two fields named model", one_model_field, local=True),
    Case("a remote model that leads back", loop, local=True),
)
