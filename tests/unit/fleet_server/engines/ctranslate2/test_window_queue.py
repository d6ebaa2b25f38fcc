"""Requests take turns in the passes of the speech engine."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleet_server.engines.ctranslate2.fallback import SHORTENED, Answer
from fleet_server.engines.ctranslate2.recording import Job
from fleet_server.engines.ctranslate2.speech import RATE, Span
from fleet_server.engines.ctranslate2.window_queue import Batch, Closed, Outcome, WindowQueue
from fleet_server.engines.ctranslate2.windows import Window
from fleet_server.protocols import Segment, SpeechOptions, Word

DOUBT = Answer((1,), avg_logprob=-2, no_speech_prob=0, compression_ratio=1, temperature=0)


def window(second: int) -> Window:
    return Window((Span(second * RATE, (second + 1) * RATE),))


def job(windows: int, *, language: str | None = "en", prompt: int = 0, **options: Any) -> Job:
    return Job(
        np.zeros(0, np.float32),
        SpeechOptions(**options),
        tuple(range(prompt)),
        language,
        deque(window(second) for second in range(windows)),
    )


def taken(line: WindowQueue) -> Batch:
    batch = line.take()
    assert batch is not None
    return batch


def jobs_of(batch: Batch) -> list[Job]:
    return [job for job, _ in batch]


def answer(second: float, text: str = " a") -> Segment:
    return Segment(second, second + 0.5, text)


def test_a_short_request_rides_in_the_next_pass_of_a_long_one() -> None:
    line = WindowQueue(4)
    long, short = job(100), job(1)
    line.put(long)
    first = taken(line)
    assert jobs_of(first) == [long] * 4
    line.put(short)
    line.finish(first, [Outcome("en")] * 4)
    second = taken(line)
    assert short in jobs_of(second)
    line.finish(second, [Outcome("en")] * 4)
    assert short.done.is_set()
    assert not long.done.is_set()


def test_requests_take_turns_window_by_window() -> None:
    line = WindowQueue(2)
    jobs = [job(2), job(2), job(2)]
    for one in jobs:
        line.put(one)
    order = []
    for _ in range(3):
        batch = taken(line)
        order += jobs_of(batch)
        line.finish(batch, [Outcome("en")] * len(batch))
    assert order == jobs * 2


def test_windows_of_a_request_come_in_order() -> None:
    line = WindowQueue(3)
    long = job(3)
    line.put(long)
    assert [window.start // RATE for _, window in taken(line)] == [0, 1, 2]


def test_only_what_may_share_a_pass_does() -> None:
    plain, same, prompted, warm = job(1), job(1), job(1, prompt=3), job(1, temperature=0.5)
    words, more_words = job(2, word_timestamps=True), job(1, word_timestamps=True)
    line = WindowQueue(8)
    for one in (plain, words, prompted, same, more_words, warm):
        line.put(one)
    passes = []
    for _ in range(4):
        batch = taken(line)
        passes.append(jobs_of(batch))
        line.finish(batch, [Outcome("en")] * len(batch))
    assert passes == [[plain, same], [words, more_words, words], [prompted], [warm]]


def test_windows_of_one_recording_share_passes() -> None:
    line = WindowQueue(4, 8)
    filled, short = job(10), job(20)
    short.ladder = SHORTENED
    for one, sizes in ((filled, [4, 4, 2]), (short, [8, 8, 4])):
        line.put(one)
        found = []
        while not one.done.is_set():
            batch = taken(line)
            found.append(len(batch))
            line.finish(batch, [Outcome("en")] * len(batch))
        assert found == sizes


def test_a_long_window_does_not_lengthen_the_pass_of_short_ones() -> None:
    line = WindowQueue(2, 4)
    one = job(3)
    one.ladder = SHORTENED
    long = Window((Span(9 * RATE, 29 * RATE),))
    one.waiting.insert(1, long)
    line.put(one)
    first, second = taken(line), taken(line)
    assert [window.start // RATE for _, window in first] == [0, 1, 2]
    assert second == [(one, long)]


def test_each_of_several_requests_is_served_within_as_many_passes() -> None:
    line = WindowQueue(2)
    hours = [job(240, temperature=0.1 * number) for number in range(1, 5)]
    for one in hours:
        line.put(one)
    newcomer = job(1)
    line.put(newcomer)
    passes = 0
    while not newcomer.done.is_set():
        batch = taken(line)
        line.finish(batch, [Outcome("en")] * len(batch))
        passes += 1
    assert passes <= len(hours) + 1


def test_doubtful_windows_are_retried_together_and_in_order() -> None:
    line = WindowQueue(4)
    one, other = job(6), job(2)
    line.put(one)
    batch = taken(line)
    again = [window.again(DOUBT) for _, window in batch[:3]]
    line.put(other)
    line.finish(batch, [*(Outcome("en", again=window) for window in again), Outcome("en")])
    assert taken(line) == [(one, window) for window in again]
    assert jobs_of(taken(line)) == [other, one, other, one]


def test_doubtful_windows_of_several_requests_share_the_next_attempt() -> None:
    line = WindowQueue(4)
    one, other = job(2), job(2)
    line.put(one)
    line.put(other)
    batch = taken(line)
    line.finish(batch, [Outcome("en", again=window.again(DOUBT)) for _, window in batch])
    assert sorted(map(id, jobs_of(taken(line)))) == sorted(map(id, [one, one, other, other]))


def test_an_unknown_language_waits_for_the_first_window() -> None:
    line = WindowQueue(1)
    unknown = job(3, language=None)
    known = job(2)
    line.put(unknown)
    first = taken(line)
    line.put(known)
    assert jobs_of(taken(line)) == [known]
    assert jobs_of(taken(line)) == [known]
    line.finish(first, [Outcome("de")])
    assert unknown.language == "de"
    assert jobs_of(taken(line)) == [unknown]


def test_a_doubtful_window_comes_back_alone_and_first() -> None:
    line = WindowQueue(4)
    one = job(6)
    line.put(one)
    batch = taken(line)
    again = replace(batch[0][1], refused=DOUBT)
    line.finish(batch, [Outcome("en", again=again), *[Outcome("en")] * 3])
    retried = taken(line)
    assert retried == [(one, again)]
    line.finish(retried, [Outcome("en", [answer(0)])])
    line.finish(taken(line), [Outcome("en")] * 2)
    assert one.done.is_set()
    assert [segment.start for segment in one.segments] == [0]


def test_segments_are_told_when_nothing_before_them_is_open() -> None:
    heard: list[Segment] = []
    line = WindowQueue(1)
    one = job(3, heard=heard.append)
    line.put(one)
    first, second = taken(line), taken(line)
    line.finish(second, [Outcome("en", [answer(1)])])
    assert heard == []
    line.finish(first, [Outcome("en", [answer(0)])])
    assert [segment.start for segment in heard] == [0, 1]
    line.finish(taken(line), [Outcome("en", [answer(2)])])
    assert [segment.start for segment in heard] == [0, 1, 2]
    assert one.done.is_set()


def test_a_listener_that_fails_fails_its_job_only() -> None:
    def deaf(segment: Segment) -> None:
        raise ValueError("no")

    line = WindowQueue(2)
    bad, good = job(1, heard=deaf), job(1)
    line.put(bad)
    line.put(good)
    line.finish(taken(line), [Outcome("en", [answer(0)])] * 2)
    assert isinstance(bad.error, ValueError)
    assert good.done.is_set()
    assert good.error is None


def test_a_dropped_job_takes_no_more_passes() -> None:
    line = WindowQueue(2)
    gone, other = job(9), job(1)
    line.put(gone)
    batch = taken(line)
    line.drop(gone)
    line.put(other)
    line.finish(batch, [Outcome("en", again=window(5)), Outcome("en")])
    assert jobs_of(taken(line)) == [other]
    assert not gone.waiting


def test_a_failed_pass_fails_its_jobs_only() -> None:
    line = WindowQueue(1)
    bad, good = job(2), job(1)
    line.put(bad)
    line.put(good)
    error = RuntimeError("no memory")
    line.fail(taken(line), error)
    assert bad.error is error
    assert bad.done.is_set()
    assert jobs_of(taken(line)) == [good]


def test_closing_ends_everything() -> None:
    line = WindowQueue(1)
    waiting = job(1)
    line.put(waiting)
    line.close()
    assert line.take() is None
    assert isinstance(waiting.error, Closed)
    with pytest.raises(Closed):
        line.put(job(1))


def test_words_never_run_backwards_across_segments() -> None:
    one = job(1, word_timestamps=True)
    one.segments = [
        Segment(2, 4, " c", words=[Word(" c", 1.8, 2.5)]),
        Segment(0, 2, " a b", words=[Word(" a", 0, 1), Word(" b", 0.9, 2.0)]),
    ]
    words = [word for segment in one.ordered() for word in segment.words]
    assert [(word.start, word.end) for word in words] == [(0, 1), (1, 2), (2, 2.5)]
