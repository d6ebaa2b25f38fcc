"""Charges for responses: complete, broken and those that are not read to the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_router.callers.meter import Meter, StreamedText, charge
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import NO_USAGE, RequestUsage
from fleet_router.upstream.connection import Head

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")
CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/transcriptions"


def sse(data: Any, name: str = "") -> bytes:
    prefix = f"event: {name}\n".encode() if name else b""
    return prefix + b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def metered(
    path: str, *chunks: bytes, complete: bool, status: int = 200, headers: Any = (STREAM,)
) -> RequestRecord:
    record = RequestRecord(path=path, prompt_bytes=398, sent_bytes=96_000)
    meter = Meter(record, Head(status, list(headers)))
    for chunk in chunks:
        meter.add(chunk)
    meter.close(complete=complete)
    return record


STREAMS = {
    "chat": (CHAT, [delta(role="assistant", content=""), delta(content="a"), delta(content=" b")]),
    "tools": (CHAT, [delta(tool_calls=[{"function": {"arguments": "{"}}]),
                     delta(tool_calls=[{"function": {"arguments": "}"}}])]),
    "thinking": (CHAT, [delta(reasoning_content="a"), delta(reasoning_content="b")]),
    "both fields": (CHAT, [delta(reasoning_content="a", reasoning="a"),
                           delta(reasoning="b", reasoning_content="b")]),
    "completions": ("/v1/completions", [sse({"choices": [{"text": text}]}) for text in "ab"]),
    "responses": ("/v1/responses", [
        sse({"type": "response.created", "response": {"instructions": "content", "output": []}}),
        *(sse({"type": "response.output_text.delta", "delta": text}) for text in "ab")
    ]),
    "messages": ("/v1/messages", [
        sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}, "x")
        for text in "ab"
    ]),
    "llama.cpp": ("/completion", [sse({"content": text, "stop": False}) for text in "ab"]),
}  # fmt: skip


@pytest.mark.parametrize(("path", "chunks"), STREAMS.values(), ids=STREAMS)
def test_a_stream_that_ends_early_is_charged_by_its_events(path: str, chunks: list[bytes]) -> None:
    record = metered(path, *chunks, complete=False)
    assert record.usage == RequestUsage(prompt_tokens=100, completion_tokens=2)
    assert record.estimated


def test_events_are_counted_however_they_are_cut_into_chunks() -> None:
    stream = b"".join(delta(content=text) for text in ("a", 'say \\"content\\":\\"x', "ä"))
    for size in (1, 7, len(stream)):
        text = StreamedText()
        for start in range(0, len(stream), size):
            text.add(stream[start : start + size])
        assert text.tokens == 5, size  # 3 events, the second with the text of three tokens


def test_an_event_with_much_text_is_several_tokens() -> None:
    text = StreamedText()
    text.add(delta(content="x" * 600))
    assert text.tokens == 100


def test_a_string_without_end_is_searched_once() -> None:
    text = StreamedText()
    text.add(b'"content":"' + b"x" * 60_000 + b"\n")
    assert text.tokens == 0


def test_a_line_without_end_is_not_kept() -> None:
    text = StreamedText()
    for _ in range(10):
        text.add(b"x" * 50_000)
    assert len(text._line) <= 64 * 1024


def test_usage_of_the_server_is_preferred_to_estimates() -> None:
    usage_header = (b"x-modelfleet-usage", b'{"prompt_tokens": 7}')
    record = metered(CHAT, delta(content="a"), complete=False, headers=(STREAM, usage_header))
    assert record.usage == RequestUsage(prompt_tokens=7, completion_tokens=1)
    end = sse({"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 3}})
    record = metered(CHAT, delta(content="a"), end, complete=True, headers=(STREAM, usage_header))
    assert (record.usage, record.estimated) == (RequestUsage(8, 0, 3), False)


def test_a_comment_before_the_text_has_the_prompt() -> None:
    comment = b': usage {"prompt_tokens": 7}\n\n'
    text = [delta(content="a" * 100)] * 200  # more than the tail that is kept
    record = metered(CHAT, comment, *text, complete=False)
    assert record.usage == RequestUsage(7, 0, 20_000 // 6)
    forged = delta(content='\n: usage {"prompt_tokens": 1}\n')
    assert metered(CHAT, forged, *text, complete=False).usage.prompt_tokens == 100


def test_a_usage_before_the_end_does_not_hide_later_tokens() -> None:
    start = sse({"type": "message_start", "message": {"usage": {"input_tokens": 9,
                                                                "output_tokens": 1}}})  # fmt: skip
    record = metered("/v1/messages", start, *[delta(content="a")] * 5, complete=False)
    assert (record.usage, record.estimated) == (RequestUsage(9, 0, 5), True)


def test_a_stream_that_ends_with_an_error_is_charged_too() -> None:
    comment, error = b': usage {"prompt_tokens": 7}\n\n', sse({"error": {"message": "x"}})
    assert metered(CHAT, comment, delta(content="a"), error, complete=True).usage == RequestUsage(
        7, 0, 1
    )


def test_usage_of_the_server_replaces_estimates_at_the_end() -> None:
    end = sse({"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 3}})
    record = metered(CHAT, delta(content=" " * 600), end, complete=True)
    assert (record.usage, record.estimated) == (RequestUsage(8, 0, 3), False)


def test_a_whole_stream_without_usage_is_charged_too() -> None:
    record = metered(CHAT, delta(content="a"), b"data: [DONE]\n\n", complete=True)
    assert record.usage == RequestUsage(100, 0, 1)


def test_a_large_body_that_is_not_read_to_its_end_costs_its_prompt() -> None:
    record = metered("/v1/embeddings", b'{"data": [', complete=False, headers=(JSON,))
    assert record.usage == RequestUsage(prompt_tokens=100)
    body = b'{"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}'
    record = metered("/v1/embeddings", body, complete=True, headers=(JSON,))
    assert (record.usage, record.estimated) == (RequestUsage(5), False)


def test_audio_is_charged_in_seconds() -> None:
    transcript = sse({"type": "transcript.text.delta", "delta": "hello"})
    assert metered(SPEECH, transcript, complete=False).usage == RequestUsage(audio_seconds=3)
    usage_header = (b"x-modelfleet-usage", b'{"seconds": 40}')
    record = metered(SPEECH, transcript, complete=False, headers=(STREAM, usage_header))
    assert record.usage == RequestUsage(audio_seconds=40)
    spoken = b'"usage": {"seconds": 1}'
    record = metered(
        SPEECH, spoken, complete=True, headers=((b"content-type", b"text/plain"), usage_header)
    )
    assert record.usage == RequestUsage(audio_seconds=40)


@pytest.mark.parametrize(("status", "tokens"), [(400, 0), (429, 0), (500, 0), (503, 0), (504, 100)])
def test_of_errors_only_timeouts_are_charged(status: int, tokens: int) -> None:
    for complete in (True, False):
        record = metered(CHAT, b'{"error": {}}', complete=complete, status=status, headers=(JSON,))
        assert record.usage.prompt_tokens == tokens


def test_a_complete_response_without_usage_is_free() -> None:
    record = metered("/tokenize", b'{"tokens": []}', complete=True, headers=(JSON,))
    assert (record.usage, record.estimated) == (NO_USAGE, False)


def test_a_request_without_a_response_is_charged_by_its_size() -> None:
    record = RequestRecord(path=CHAT, prompt_bytes=5)
    charge(record)
    assert (record.usage, record.estimated) == (RequestUsage(prompt_tokens=2), True)
    record = RequestRecord(path=SPEECH, sent_bytes=64_000)
    charge(record)
    assert record.usage == RequestUsage(audio_seconds=2)
