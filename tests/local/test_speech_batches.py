"""Passes of the speech engine with real weights: windows share passes and lose no text."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_server.audio.decode import RATE, decode
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.engines.ctranslate2 import SpeechEngine
from fleet_server.engines.ctranslate2.device import CPU_SHORT_BATCH
from fleet_server.engines.ctranslate2.fallback import SHORTENED, DecodingResult
from fleet_server.engines.ctranslate2.recording import Recording
from fleet_server.engines.ctranslate2.speech import Span
from fleet_server.engines.ctranslate2.window_queue import Batch
from fleet_server.engines.ctranslate2.windows import AudioWindow
from fleet_server.protocols import Cancelled, Float32, Segment, SpeechOptions

pytestmark = pytest.mark.weights

SENTENCES = (
    "The train to London leaves from platform four in twenty minutes.",
    "Yesterday we walked along the river and talked about the weather.",
    "Please bring the letter from the hospital on Thursday morning.",
    "Three children found an old wooden boat near the lake.",
)
TWELVE_SECONDS = (
    "The library has moved to the second floor of the building next to the theatre. You can "
    "return your books at the desk near the stairs, and the reading room stays open until eight "
    "in the evening."
)

Speak = Callable[..., Path]


@pytest.fixture(scope="module")
def engine(demo_weights: Callable[[str], Path]) -> Iterator[SpeechEngine]:
    made = built(demo_weights("Systran/faster-whisper-tiny.en"))
    yield made
    made.close()


def built(folder: Path) -> SpeechEngine:
    """One lane, so that waiting windows join its next pass, including long ones."""
    spec = ModelSpec.model_validate(
        {
            "model": "m", "task": "speech", "device": "cpu", "limits": {"maxConcurrent": 1},
            "batching": {"maxSize": CPU_SHORT_BATCH},
        }
    )  # fmt: skip
    return SpeechEngine(spec, folder, available_cpus())


def samples(path: Path) -> Float32:
    with path.open("rb") as file, ScratchFile(Scratch(1 << 30), 1 << 30) as space:
        return decode(file, 3600, lambda: False, space)


def batch_of(recordings: list[Float32], **options: Any) -> Batch:
    """One window for each recording, all of the same length, so that no pass pads them further."""
    length = max(len(audio) for audio in recordings)
    window = AudioWindow((Span(0, length),))
    return [
        (Recording(np.pad(audio, (0, length - len(audio))), SpeechOptions(**options), (), "en",
             deque(), SHORTENED), window)
        for audio in recordings
    ]  # fmt: skip


def test_a_shared_pass_finds_the_same_words(engine: SpeechEngine, speak: Speak) -> None:
    recordings = [samples(speak(sentence)) for sentence in SENTENCES]
    recordings.insert(2, np.zeros(RATE, np.float32))  # one without speech
    batch = batch_of(recordings, word_timestamps=True)
    together = engine._decoder.run(batch)
    alone = [engine._decoder.run([entry])[0] for entry in batch]
    assert sum(len(segment.words) for one in together for segment in one.segments) > 35
    for first, second in zip(alone, together, strict=True):
        assert [s.text for s in first.segments] == [s.text for s in second.segments]
        words, others = ([w for s in one.segments for w in s.words] for one in (first, second))
        assert [word.word for word in words] == [word.word for word in others]
        times, other_times = ([t for w in ws for t in (w.start, w.end)] for ws in (words, others))
        assert times == pytest.approx(other_times, abs=0.041)  # two steps: float sums differ


def test_a_batch_of_four_equals_batches_of_one(
    demo_weights: Callable[[str], Path], speak: Speak
) -> None:
    made = built(demo_weights("openai/whisper-base"))
    try:
        audio = samples(speak(TWELVE_SECONDS))
        assert 10 <= len(audio) / RATE <= 15
        others = [samples(speak(sentence)) for sentence in SENTENCES[:3]]
        batch = batch_of([others[0], audio, *others[1:]], language="en")
        together, alone = made._decoder.run(batch)[1], made._decoder.run(batch[1:2])[0]
    finally:
        made.close()
    text = "".join(segment.text for segment in alone.segments)
    assert "library" in text.lower()
    assert "".join(segment.text for segment in together.segments) == text


def test_doubtful_windows_are_decoded_again_in_shared_passes(
    engine: SpeechEngine, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every result below the last temperature is made doubtful; the text does not change."""
    passes: list[tuple[float, int]] = []
    run = engine._decoder.run

    def counted(batch: Batch) -> Any:
        passes.append((batch[0][0].attempt(batch[0][1]).temperature, len(batch)))
        return run(batch)

    monkeypatch.setattr(engine._decoder, "run", counted)
    monkeypatch.setattr(
        DecodingResult, "is_doubtful", property(lambda found: found.temperature < 0.2)
    )
    pause = np.zeros(4 * RATE, np.float32)
    recordings = [samples(speak(sentence)) for sentence in SENTENCES[:3]]
    audio = np.concatenate([part for one in recordings for part in (one, pause)])
    emitted: list[Segment] = []
    options = SpeechOptions(language="en", on_segment=emitted.append)
    found = engine.transcribe(audio, options, lambda: False)
    assert passes[:3] == [(0.0, 3), (0.0, 3), (0.2, 3)]
    assert {segment.temperature for segment in found.segments} == {0.2}
    assert emitted == list(found.segments)


def test_features_of_at_most_one_pass_are_in_memory(
    engine: SpeechEngine, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = engine._model.feature_extractor
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    class Counting:
        nb_max_frames = extractor.nb_max_frames

        def __call__(self, audio: Float32, padding: int) -> Any:
            features = extractor(audio, padding=padding)
            made.append(weakref.ref(features))
            alive.append(sum(one() is not None for one in made))
            return features

    monkeypatch.setattr(engine._model, "feature_extractor", Counting())
    pause = np.zeros(4 * RATE, np.float32)
    audio = np.tile(np.concatenate([samples(speak("Yes, please.")), pause]), 20)
    assert len(engine.transcribe(audio, SpeechOptions(language="en"), lambda: False).segments) >= 20
    assert len(made) >= 20
    assert max(alive) <= CPU_SHORT_BATCH


def test_a_cancelled_request_has_no_further_passes(
    engine: SpeechEngine, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass is held until the request is cancelled; nothing of it is decoded later."""
    begun, cancelled, ended = threading.Event(), threading.Event(), threading.Event()
    passes: list[int] = []
    run = engine._decoder.run

    def held(batch: Batch) -> Any:
        passes.append(len(batch))
        begun.set()
        assert cancelled.wait(60)
        try:
            return run(batch)
        finally:
            ended.set()

    monkeypatch.setattr(engine._decoder, "run", held)
    pause = np.zeros(4 * RATE, np.float32)
    speech = samples(speak("Yes, please."))
    audio = np.tile(np.concatenate([speech, pause]), 12)
    with pytest.raises(Cancelled):
        engine.transcribe(audio, SpeechOptions(language="en"), begun.is_set)
    cancelled.set()
    assert ended.wait(60)
    # A later request would be decoded after any remaining pass of the cancelled one.
    assert engine.transcribe(speech, SpeechOptions(language="en"), lambda: False).segments
    assert passes[0] == CPU_SHORT_BATCH
    assert set(passes[1:]) == {1}


def test_requests_sent_at_once_share_passes(
    engine: SpeechEngine, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass is held until all requests are queued; on a busy machine it has them all."""
    passes: list[int] = []
    run = engine._decoder.run
    put, waiting = engine._queue.put, threading.Semaphore(0)
    recordings = [samples(speak(sentence)) for sentence in SENTENCES]

    def counted_put(recording: Recording) -> None:
        put(recording)
        waiting.release()

    def held(batch: Batch) -> Any:
        if not passes:
            for _ in recordings:
                assert waiting.acquire(timeout=180)
        passes.append(len(batch))
        return run(batch)

    monkeypatch.setattr(engine._queue, "put", counted_put)
    monkeypatch.setattr(engine._decoder, "run", held)
    options = SpeechOptions(language="en")
    with ThreadPoolExecutor(len(recordings)) as pool:
        found = list(pool.map(lambda one: engine.transcribe(one, options, lambda: False).text,
                              recordings))  # fmt: skip
    for sentence, text in zip(SENTENCES, found, strict=True):
        assert set(sentence.lower().strip(".").split()) & set(text.lower().strip(".").split())
    assert sum(passes[:2]) == len(recordings)
