"""Recordings are split at silences, and skipped speech is decoded again."""

from __future__ import annotations

from fleet_server.engines.ctranslate2.fallback import DecodingResult
from fleet_server.engines.ctranslate2.speech import RATE, Span
from fleet_server.engines.ctranslate2.windows import SHORT, AudioWindow, cut


def spans(*seconds: tuple[float, float]) -> list[Span]:
    return [Span(round(start * RATE), round(end * RATE)) for start, end in seconds]


def bounds(windows: list[AudioWindow]) -> list[tuple[float, float]]:
    return [(window.start / RATE, window.end / RATE) for window in windows]


def test_windows_are_filled_up_to_thirty_seconds() -> None:
    found = cut(spans((0, 9), (10, 20), (20, 29), (29, 35), (36, 59)))
    assert bounds(found) == [(0, 29), (29, 59)]


def test_a_long_silence_ends_a_window() -> None:
    assert bounds(cut(spans((1, 3), (5, 7), (11, 12)))) == [(1, 7), (11, 12)]


def test_no_window_is_longer_than_the_models() -> None:
    found = cut(spans(*((start, start + 2.9) for start in range(0, 3000, 3))))
    assert all(window.seconds <= 30 for window in found)
    assert sum(len(window.spans) for window in found) == 1000
    assert len(found) == 100


def test_no_speech_gives_no_window() -> None:
    assert cut([]) == []


def test_speech_after_the_text_ended_is_read_again() -> None:
    window = AudioWindow(tuple(spans((10, 14), (16, 20))))
    rest = window.rest(decoded=4.5)
    assert rest is not None
    assert bounds([rest]) == [(16, 20)]
    inside = window.rest(decoded=2.0)
    assert inside is not None
    assert bounds([inside]) == [(12, 20)]


def test_a_short_rest_or_no_progress_gives_no_new_window() -> None:
    window = AudioWindow(tuple(spans((10, 14), (16, 20))))
    assert window.rest(decoded=9.2) is None
    assert window.rest(decoded=10.0) is None
    assert window.rest(decoded=0.5) is None


def test_short_windows_hold_fifteen_seconds_or_one_span() -> None:
    found = cut(spans((0, 6), (6, 14), (14, 40), (40, 45)), SHORT)
    assert bounds(found) == [(0, 14), (14, 40), (40, 45)]


def test_a_window_keeps_the_best_rejected_result_and_the_attempts() -> None:
    window = AudioWindow(tuple(spans((0, 5))))
    better = DecodingResult(
        (1,), avg_logprob=-1.2, no_speech_prob=0, compression_ratio=1, temperature=0
    )
    worse = DecodingResult(
        (2,), avg_logprob=-1.9, no_speech_prob=0, compression_ratio=1, temperature=0.2
    )
    assert (window.attempt, window.best(worse)) == (0, worse)
    again = window.retried(better).retried(worse)
    assert again.attempt == 2
    assert again.best_rejected == better
    assert again.best(worse) == better
    assert again.spans == window.spans
