"""Every kind of invalid response is detected, and only incomplete ones count as truncated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traffic import ChatStream, Driver, Embeddings, Kind, Plan, Report, Transcription, WholeChat

STREAM, CHAT = ChatStream("m", word="Paris"), WholeChat("m", word="paris")
SPEECH = Transcription("m", b"RIFF", ("capital", "France"))
KINDS = {"stream": STREAM, "chat": CHAT, "speech": SPEECH}


def sent(stub: Any, *kinds: Kind, max_requests: int = 0, **plan: Any) -> Report:
    bounds = {
        "max_requests": max_requests or len(kinds),
        "rate": 500,
        "concurrency": 1,
        "timeout": 5,
    } | plan
    with Driver(Plan(stub.url, **bounds), kinds) as driver:
        driver.wait_for_end()
    return driver.report()


def reason(report: Report) -> str:
    assert report.failed == 1
    assert not report.clean
    (only,) = report.reasons
    return only


def test_valid_responses_pass(stub: Any) -> None:
    report = sent(stub, STREAM, CHAT, Embeddings("m", 2), SPEECH, max_requests=16)
    assert report.clean, report
    assert report.requests == 16
    assert report.slices["whole"]["embeddings"].requests == 4
    assert report.endpoints == {"stub-0": 16}


def changed(stub: Any, index: int, *events: Any) -> None:
    stub.how.stream[index : index + 1] = events


def test_a_stream_without_its_end_mark_is_truncated(stub: Any) -> None:
    changed(stub, 4)
    report = sent(stub, STREAM)
    assert "without [DONE]" in reason(report)
    assert report.truncated == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_closes_too_early_is_truncated(stub: Any, kind: str) -> None:
    stub.how.cut = True
    report = sent(stub, KINDS[kind])
    assert "RemoteProtocolError" in reason(report)
    assert report.truncated == 1


def test_an_error_in_a_stream_is_truncated(stub: Any) -> None:
    changed(stub, 2, {"error": {"message": "the server broke off"}})
    report = sent(stub, STREAM)
    assert "the server broke off" in reason(report)
    assert report.truncated == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_status_is_reported_with_its_message(stub: Any, kind: str) -> None:
    stub.how.status, stub.how.error = 500, {"error": {"message": "out of luck"}}
    report = sent(stub, KINDS[kind])
    assert reason(report) == "HTTP 500: out of luck"
    assert report.truncated == 0


def test_no_finish_reason(stub: Any) -> None:
    changed(stub, 2)
    assert "finish reason is None" in reason(sent(stub, STREAM))


def test_an_unknown_finish_reason(stub: Any, piece: Callable[..., Any]) -> None:
    changed(stub, 2, piece(finish="abort"))
    assert "'abort'" in reason(sent(stub, STREAM))


def test_text_after_the_finish_reason(stub: Any, piece: Callable[..., Any]) -> None:
    changed(stub, 3, piece(text="more"))
    assert "after the finish reason" in reason(sent(stub, STREAM))


def test_an_event_after_the_end_mark(stub: Any, piece: Callable[..., Any]) -> None:
    stub.how.stream.append(piece(text="more"))
    assert "after the end of the stream" in reason(sent(stub, STREAM))


def test_events_of_two_responses(stub: Any, piece: Callable[..., Any]) -> None:
    changed(stub, 1, piece("b", " is Paris."))
    assert "several responses" in reason(sent(stub, STREAM))


def test_no_count_of_tokens(stub: Any) -> None:
    changed(stub, 3)
    assert "no tokens" in reason(sent(stub, STREAM))


def test_an_empty_response(stub: Any, piece: Callable[..., Any]) -> None:
    changed(stub, 0)
    changed(stub, 0, piece(text=" "))
    assert "empty" in reason(sent(stub, STREAM))


def test_a_wrong_response(stub: Any) -> None:
    stub.how.chat["choices"][0]["message"]["content"] = "Rome."
    assert "'paris' is not in 'Rome.'" in reason(sent(stub, CHAT))


def test_no_choices(stub: Any) -> None:
    stub.how.chat["choices"] = []
    assert "another shape" in reason(sent(stub, CHAT))


def test_an_event_of_another_shape(stub: Any) -> None:
    changed(stub, 0, {"id": "a", "choices": [{}]})
    assert "another shape" in reason(sent(stub, STREAM))


def test_the_response_to_another_request(stub: Any) -> None:
    stub.how.identity = "somebody-else"
    assert "another request" in reason(sent(stub, CHAT))


def test_another_number_of_dimensions(stub: Any, embedded: Callable[..., Any]) -> None:
    stub.how.embeddings = embedded([0.0, 0.6, 0.8], [0.0, 0.6, 0.8])
    assert "3 dimensions instead of 2" in reason(sent(stub, Embeddings("m", 2)))


def test_a_vector_that_is_not_normalised(stub: Any, embedded: Callable[..., Any]) -> None:
    stub.how.embeddings = embedded([6.0, 8.0], [6.0, 8.0])
    assert "length 10.000" in reason(sent(stub, Embeddings("m", 2)))


def test_a_vector_of_nan(stub: Any, embedded: Callable[..., Any]) -> None:
    stub.how.embeddings = embedded([float("nan"), 1.0], [1.0, 0.0])
    assert "length nan" in reason(sent(stub, Embeddings("m")))


def test_too_few_vectors(stub: Any, embedded: Callable[..., Any]) -> None:
    stub.how.embeddings = embedded([1.0, 0.0])
    assert "for two texts" in reason(sent(stub, Embeddings("m")))


def test_another_vector_for_the_same_text(stub: Any, embedded: Callable[..., Any]) -> None:
    kind = Embeddings("m")
    assert sent(stub, kind).clean
    stub.how.embeddings = embedded([0.8, 0.6], [0.8, 0.6])
    assert "another vector than before" in reason(sent(stub, kind))


def test_a_transcript_without_the_expected_words(stub: Any) -> None:
    stub.how.speech["text"] = "The capitals, Franceville."
    assert "['capital', 'France'] not in" in reason(sent(stub, SPEECH))


def test_a_server_that_does_not_respond(stub: Any) -> None:
    import threading

    stub.how.gate = threading.Event()
    report = sent(stub, CHAT, timeout=0.2)
    assert "no complete response within 0.2 s" in reason(report)
    assert report.truncated == 0


def test_an_unreachable_server(stub: Any) -> None:
    stub.url = "http://127.0.0.1:9"
    assert "ConnectError" in reason(sent(stub, CHAT))
