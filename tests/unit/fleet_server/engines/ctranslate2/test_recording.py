"""How often and how a window is decoded."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

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
LOOP = DecodingResult((7,) * 223, 0, no_speech_prob=0, compression_ratio=9, temperature=0)
WINDOW = AudioWindow((Span(0, 9 * RATE),))


def recording(*windows: AudioWindow, **options: Any) -> Recording:
    return Recording(
        np.zeros(0, np.float32), SpeechOptions(**options), (), "en", deque(windows), SHORTENED
    )


def test_a_doubtful_window_is_filled_up_first_and_then_sampled() -> None:
    one, window, attempts = recording(), WINDOW, []
    while True:
        attempts.append(one.attempt(window))
        if not one.can_retry(window, DOUBT):
            break
        window = window.retried(DOUBT)
    assert attempts == [DecodingOptions(0.0, filled=False), *FILLED]
    assert [attempt.temperature for attempt in attempts] == [0, 0, 0.2, 0.4, 0.6, 0.8, 1]


@pytest.mark.parametrize(("seconds", "attempts"), [(4, 2), (9, 3), (15, 4), (30, 6)])
def test_attempts_that_repeat_themselves_are_bounded_by_the_length_of_the_speech(
    seconds: int, attempts: int
) -> None:
    one, window = recording(), AudioWindow((Span(0, seconds * RATE),))
    number = 1
    while one.can_retry(window, LOOP):
        window, number = window.retried(LOOP), number + 1
    assert number == attempts


def test_after_a_repetitive_text_a_window_is_decoded_without_the_prompt() -> None:
    one = recording()
    one.prompt = (5, 6)
    assert one.prompt_of(WINDOW.retried(DOUBT)) == (5, 6)
    again = WINDOW.retried(LOOP)
    assert (one.prompt_of(again), one.key(again).prompt_length) == ((), 0)
    assert one.prompt_of(again.retried(DOUBT)) == ()


def test_a_clients_temperature_is_the_only_attempt_and_filled_up() -> None:
    one = recording(temperature=0.3)
    assert one.attempt(WINDOW) == DecodingOptions(0.3, filled=True)
    assert not one.can_retry(WINDOW, DOUBT)


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
    assert not recording().can_retry(rest, DOUBT)
    longer = AudioWindow((Span(0, 12 * RATE),)).rest(decoded=6)
    assert longer is not None
    assert recording().can_retry(longer.retried(DOUBT), DOUBT)
