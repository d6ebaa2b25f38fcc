"""Forms of the speech routes: broken fields, parts, boundaries and recordings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.fuzz import bodies, raw_http

TARGETS = ("server", "router")
PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations")


def form(recording: bytes, kind: str = "json") -> tuple[bytes, str]:
    fields = [("model", b"speech"), ("response_format", kind.encode()), ("file", recording)]
    parts = [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (bodies.BOUNDARY, name.encode(), value)
        for name, value in fields
    ]
    end = b"--%b--\r\n" % bodies.BOUNDARY
    return b"".join(parts) + end, f"multipart/form-data; boundary={bodies.BOUNDARY.decode()}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", PATHS)
def test_the_unchanged_form_is_accepted(fuzzed: Any, target: str, path: str) -> None:
    raw = raw_http.post(path, *form(bodies.recording()))
    answer = fuzzed.send(fuzzed.port(target, "speech"), raw)
    assert answer.status == 200, answer.body
    raw_http.judge(answer)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", PATHS)
def test_broken_forms(fuzzed: Any, settings: Any, target: str, path: str) -> None:
    @settings
    @given(sent=bodies.broken_form())
    def holds(sent: tuple[bytes, str]) -> None:
        raw_http.judge(fuzzed.send(fuzzed.port(target, "speech"), raw_http.post(path, *sent)))

    holds()


def test_broken_recordings(fuzzed: Any, settings: Any) -> None:
    @settings
    @given(
        recording=bodies.broken_bytes_of(bodies.recording()),
        kind=st.sampled_from(("json", "text", "srt", "vtt", "verbose_json")),
    )
    def holds(recording: bytes, kind: str) -> None:
        raw_http.judge(
            fuzzed.send(fuzzed.ports["speech"], raw_http.post(PATHS[0], *form(recording, kind)))
        )

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_forms_that_end_too_early(fuzzed: Any, settings: Any, target: str) -> None:
    whole = raw_http.post(PATHS[0], *form(bodies.recording()))

    @settings
    @given(end=st.integers(0, len(whole) - 1))
    def holds(end: int) -> None:
        answer = fuzzed.send(fuzzed.port(target, "speech"), whole[:end], leave=True)
        if answer is not None:
            assert answer.status != 200
            raw_http.judge(answer)

    holds()
