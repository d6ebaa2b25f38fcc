"""How often and how a window is decoded."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from fleet_server.engines.ctranslate2.fallback import (
    FILLED,
    SHORTENED,
    DecodingOptions,
    DecodingResult,
)
from fleet_server.engines.ctranslate2.recording import Recording
from fleet_server.engines.ctranslate2.speech import RATE, Span
from fleet_server.engines.ctranslate2.windows import AudioWindow
from fleet_server.protocols import SpeechOptions

DOUBT = DecodingResult((1,), avg_logprob=-2, no_speech_prob=0, compression_ratio=1, temperature=0)
WINDOW = AudioWindow((Span(0, 9 * RATE),))


def recording(*windows: AudioWindow, **options: Any) -> Recording:
    return Recording(
        np.zeros(0, np.float32), SpeechOptions(**options), (), "en", deque(windows), SHORTENED
    )


def test_a_doubtful_window_is_filled_up_first_and_then_sampled() -> None:
    one, window, attempts = recording(), WINDOW, []
    while True:
        attempts.append(one.attempt(window))
        if not one.can_retry(window):
            break
        window = window.retried(DOUBT)
    assert attempts == [DecodingOptions(0.0, filled=False), *FILLED]
    assert [attempt.temperature for attempt in attempts] == [0, 0, 0.2, 0.4, 0.6, 0.8, 1]


def test_a_clients_temperature_is_the_only_attempt_and_filled_up() -> None:
    one = recording(temperature=0.3)
    assert one.attempt(WINDOW) == DecodingOptions(0.3, filled=True)
    assert not one.can_retry(WINDOW)


def test_a_window_is_taken_by_the_key_of_its_pass() -> None:
    first, long, last = (
        WINDOW,
        AudioWindow((Span(9 * RATE, 30 * RATE),)),
        AudioWindow((Span(500_000, 510_000),)),
    )
    one = recording(first, long, last)
    assert one.take(None) is first
    assert one.take(one.key(first)) is last
    assert one.take(one.key(first)) is None
    assert list(one.waiting) == [long]
    assert one.running == [first, last]


def test_a_short_rest_is_decoded_once() -> None:
    rest = AudioWindow((Span(0, 9 * RATE),)).rest(decoded=6)
    assert rest is not None
    assert not recording().can_retry(rest)
    longer = AudioWindow((Span(0, 12 * RATE),)).rest(decoded=6)
    assert longer is not None
    assert recording().can_retry(longer.retried(DOUBT))
