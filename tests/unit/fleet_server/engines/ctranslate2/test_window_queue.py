"""Requests take turns in the passes of the speech engine."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleet_server.engines.ctranslate2.fallback import SHORTENED, DecodingResult
from fleet_server.engines.ctranslate2.recording import Recording
from fleet_server.engines.ctranslate2.speech import RATE, Span
from fleet_server.engines.ctranslate2.window_queue import Batch, Closed, WindowQueue, WindowResult
from fleet_server.engines.ctranslate2.windows import AudioWindow
from fleet_server.protocols import Segment, SpeechOptions, Word

DOUBT = DecodingResult((1,), avg_logprob=-2, no_speech_prob=0, compression_ratio=1, temperature=0)


def window(second: int) -> AudioWindow:
    return AudioWindow((Span(second * RATE, (second + 1) * RATE),))


def recording(
    windows: int, *, language: str | None = "en", prompt: int = 0, **options: Any
) -> Recording:
    return Recording(
        np.zeros(0, np.float32),
        SpeechOptions(**options),
        tuple(range(prompt)),
        language,
        deque(window(second) for second in range(windows)),
    )


def taken(queue: WindowQueue) -> Batch:
    batch = queue.take()
    assert batch is not None
    return batch


def recordings_of(batch: Batch) -> list[Recording]:
    return [recording for recording, _ in batch]


def segment(second: float, text: str = " a") -> Segment:
    return Segment(second, second + 0.5, text)


def test_a_short_request_joins_the_next_pass_of_a_long_one() -> None:
    queue = WindowQueue(4)
    long, short = recording(100), recording(1)
    queue.put(long)
    first = taken(queue)
    assert recordings_of(first) == [long] * 4
    queue.put(short)
    queue.finish(first, [WindowResult("en")] * 4)
    second = taken(queue)
    assert short in recordings_of(second)
    queue.finish(second, [WindowResult("en")] * 4)
    assert short.done.is_set()
    assert not long.done.is_set()


def test_requests_take_turns_window_by_window() -> None:
    queue = WindowQueue(2)
    recordings = [recording(2), recording(2), recording(2)]
    for one in recordings:
        queue.put(one)
    order = []
    for _ in range(3):
        batch = taken(queue)
        order += recordings_of(batch)
        queue.finish(batch, [WindowResult("en")] * len(batch))
    assert order == recordings * 2


def test_windows_of_a_request_come_in_order() -> None:
    queue = WindowQueue(3)
    long = recording(3)
    queue.put(long)
    assert [window.start // RATE for _, window in taken(queue)] == [0, 1, 2]


def test_only_compatible_windows_share_a_pass() -> None:
    plain, same, prompted, warm = (
        recording(1),
        recording(1),
        recording(1, prompt=3),
        recording(1, temperature=0.5),
    )
    words, more_words = recording(2, word_timestamps=True), recording(1, word_timestamps=True)
    queue = WindowQueue(8)
    for one in (plain, words, prompted, same, more_words, warm):
        queue.put(one)
    passes = []
    for _ in range(4):
        batch = taken(queue)
        passes.append(recordings_of(batch))
        queue.finish(batch, [WindowResult("en")] * len(batch))
    assert passes == [[plain, same], [words, more_words, words], [prompted], [warm]]


def test_windows_of_one_recording_share_passes() -> None:
    queue = WindowQueue(4, 8)
    filled, short = recording(10), recording(20)
    short.ladder = SHORTENED
    for one, sizes in ((filled, [4, 4, 2]), (short, [8, 8, 4])):
        queue.put(one)
        found = []
        while not one.done.is_set():
            batch = taken(queue)
            found.append(len(batch))
            queue.finish(batch, [WindowResult("en")] * len(batch))
        assert found == sizes


def test_a_long_window_does_not_lengthen_the_pass_of_short_ones() -> None:
    queue = WindowQueue(2, 4)
    one = recording(3)
    one.ladder = SHORTENED
    long = AudioWindow((Span(9 * RATE, 29 * RATE),))
    one.waiting.insert(1, long)
    queue.put(one)
    first, second = taken(queue), taken(queue)
    assert [window.start // RATE for _, window in first] == [0, 1, 2]
    assert second == [(one, long)]


def test_each_of_several_requests_is_served_within_as_many_passes() -> None:
    queue = WindowQueue(2)
    hours = [recording(240, temperature=0.1 * number) for number in range(1, 5)]
    for one in hours:
        queue.put(one)
    newcomer = recording(1)
    queue.put(newcomer)
    passes = 0
    while not newcomer.done.is_set():
        batch = taken(queue)
        queue.finish(batch, [WindowResult("en")] * len(batch))
        passes += 1
    assert passes <= len(hours) + 1


def test_doubtful_windows_are_retried_together_and_in_order() -> None:
    queue = WindowQueue(4)
    one, other = recording(6), recording(2)
    queue.put(one)
    batch = taken(queue)
    retries = [window.retried(DOUBT) for _, window in batch[:3]]
    queue.put(other)
    queue.finish(
        batch, [*(WindowResult("en", next_window=window) for window in retries), WindowResult("en")]
    )
    assert taken(queue) == [(one, window) for window in retries]
    assert recordings_of(taken(queue)) == [other, one, other, one]


def test_doubtful_windows_of_several_requests_share_the_next_attempt() -> None:
    queue = WindowQueue(4)
    one, other = recording(2), recording(2)
    queue.put(one)
    queue.put(other)
    batch = taken(queue)
    queue.finish(
        batch, [WindowResult("en", next_window=window.retried(DOUBT)) for _, window in batch]
    )
    assert sorted(map(id, recordings_of(taken(queue)))) == sorted(map(id, [one, one, other, other]))


def test_an_unknown_language_waits_for_the_first_window() -> None:
    queue = WindowQueue(1)
    unknown = recording(3, language=None)
    known = recording(2)
    queue.put(unknown)
    first = taken(queue)
    queue.put(known)
    assert recordings_of(taken(queue)) == [known]
    assert recordings_of(taken(queue)) == [known]
    queue.finish(first, [WindowResult("de")])
    assert unknown.language == "de"
    assert recordings_of(taken(queue)) == [unknown]


def test_a_doubtful_window_is_retried_alone_and_first() -> None:
    queue = WindowQueue(4)
    one = recording(6)
    queue.put(one)
    batch = taken(queue)
    retry = replace(batch[0][1], best_rejected=DOUBT)
    queue.finish(batch, [WindowResult("en", next_window=retry), *[WindowResult("en")] * 3])
    retried = taken(queue)
    assert retried == [(one, retry)]
    queue.finish(retried, [WindowResult("en", [segment(0)])])
    queue.finish(taken(queue), [WindowResult("en")] * 2)
    assert one.done.is_set()
    assert [segment.start for segment in one.segments] == [0]


def test_segments_are_emitted_when_nothing_before_them_is_open() -> None:
    emitted: list[Segment] = []
    queue = WindowQueue(1)
    one = recording(3, on_segment=emitted.append)
    queue.put(one)
    first, second = taken(queue), taken(queue)
    queue.finish(second, [WindowResult("en", [segment(1)])])
    assert emitted == []
    queue.finish(first, [WindowResult("en", [segment(0)])])
    assert [segment.start for segment in emitted] == [0, 1]
    queue.finish(taken(queue), [WindowResult("en", [segment(2)])])
    assert [segment.start for segment in emitted] == [0, 1, 2]
    assert one.done.is_set()


def test_a_failing_callback_fails_its_recording_only() -> None:
    def deaf(segment: Segment) -> None:
        raise ValueError("no")

    queue = WindowQueue(2)
    bad, good = recording(1, on_segment=deaf), recording(1)
    queue.put(bad)
    queue.put(good)
    queue.finish(taken(queue), [WindowResult("en", [segment(0)])] * 2)
    assert isinstance(bad.error, ValueError)
    assert good.done.is_set()
    assert good.error is None


def test_a_dropped_recording_takes_no_more_passes() -> None:
    queue = WindowQueue(2)
    gone, other = recording(9), recording(1)
    queue.put(gone)
    batch = taken(queue)
    queue.drop(gone)
    queue.put(other)
    queue.finish(batch, [WindowResult("en", next_window=window(5)), WindowResult("en")])
    assert recordings_of(taken(queue)) == [other]
    assert not gone.waiting


def test_a_failed_pass_fails_its_recordings_only() -> None:
    queue = WindowQueue(1)
    bad, good = recording(2), recording(1)
    queue.put(bad)
    queue.put(good)
    error = RuntimeError("no memory")
    queue.fail(taken(queue), error)
    assert bad.error is error
    assert bad.done.is_set()
    assert recordings_of(taken(queue)) == [good]


def test_closing_ends_everything() -> None:
    queue = WindowQueue(1)
    waiting = recording(1)
    queue.put(waiting)
    queue.close()
    assert queue.take() is None
    assert isinstance(waiting.error, Closed)
    with pytest.raises(Closed):
        queue.put(recording(1))


def test_times_of_words_increase_across_segments() -> None:
    one = recording(1, word_timestamps=True)
    one.segments = [
        Segment(2, 4, " c", words=[Word(" c", 1.8, 2.5)]),
        Segment(0, 2, " a b", words=[Word(" a", 0, 1), Word(" b", 0.9, 2.0)]),
    ]
    words = [word for segment in one.ordered() for word in segment.words]
    assert [(word.start, word.end) for word in words] == [(0, 1), (1, 2), (2, 2.5)]


def test_callers_take_turns_window_by_window() -> None:
    queue = WindowQueue(4)
    crowd = [recording(2, caller="crowd") for _ in range(20)]
    long, one = recording(50, caller="long"), recording(1, caller="one")
    for each in (*crowd, long, one):
        queue.put(each)
    first = recordings_of(taken(queue))
    assert first == [crowd[0], long, one, crowd[1]]


def test_a_caller_keeps_its_turn_until_its_first_recording_is_served() -> None:
    queue = WindowQueue(1)
    other = recording(100, caller="other")
    mine = [recording(1, caller="me", prompt=3), *(recording(1, caller="me") for _ in range(5))]
    for each in (other, *mine):
        queue.put(each)
    batches = []
    for _ in range(4):
        batch = taken(queue)
        batches += recordings_of(batch)
        queue.finish(batch, [WindowResult("en")] * len(batch))
    assert batches == [other, mine[0], other, mine[1]]
    wide = WindowQueue(2)
    mine = [recording(1, caller="me", prompt=3), *(recording(1, caller="me") for _ in range(5))]
    for each in (recording(100, caller="other"), *mine):
        wide.put(each)
    first, second = taken(wide), taken(wide)
    assert mine[0] not in recordings_of(first)
    assert recordings_of(second) == [mine[0]]
