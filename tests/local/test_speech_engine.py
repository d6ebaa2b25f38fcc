"""The speech engine with real weights, Whisper base and tiny.en, in this process."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jiwer
import numpy as np
import pytest

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.audio.decode import RATE, decode
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.engines.ctranslate2 import SpeechEngine
from fleet_server.protocols import Cancelled, Float32, Segment, SpeechOptions, Transcript
from fleet_server.startup.warmup import warm
from fleet_server.state import ServerState
from support.required import require_program

pytestmark = pytest.mark.weights

BASE, ENGLISH_ONLY = "openai/whisper-base", "Systran/faster-whisper-tiny.en"
SHORT = "The train to London leaves from platform four. We will meet you at the station."
LONG = (
    "Good afternoon and welcome to the weekly meeting of the garden club. Today we want to talk "
    "about three things. The first is the new greenhouse, which was finished last Friday after "
    "nearly four months of work. The second is the annual flower show, which will take place in "
    "the town hall. The third is the budget for the coming year. The greenhouse cost a little "
    "more than we expected, because the price of glass went up in the spring. However, several "
    "members gave their time for free, and a local company lent us the tools that we needed. We "
    "have already planted tomatoes, cucumbers and a small lemon tree in the warm corner near the "
    "door. For the flower show we still need volunteers. Someone has to collect the tables from "
    "the church, and two people should stand at the entrance to sell tickets. Last year many "
    "visitors came, and most of them also bought a plant or a piece of cake. If the weather is "
    "good, we will put some chairs outside in the yard."
)
GERMAN = "Guten Morgen. Heute ist das Wetter sehr schön. Wir gehen in den Park und essen ein Eis."
PLAIN = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.SubstituteRegexes({r"[^\w\s]": " "}),
     jiwer.RemoveMultipleSpaces(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)  # fmt: skip

Speak = Callable[..., Path]


def word_errors(reference: str, hypothesis: str) -> float:
    rate: float = jiwer.wer(
        reference, hypothesis, reference_transform=PLAIN, hypothesis_transform=PLAIN
    )
    return rate


def samples(path: Path) -> Float32:
    with path.open("rb") as file, ScratchFile(Scratch(1 << 30), 1 << 30) as space:
        return decode(file, 3600, lambda: False, space)


def silence(seconds: float) -> Float32:
    return np.zeros(round(seconds * RATE), np.float32)


def transcribe(engine: SpeechEngine, audio: Float32, **options: Any) -> Transcript:
    return engine.transcribe(audio, SpeechOptions(**options), lambda: False)


def built(folder: Path, **fields: Any) -> SpeechEngine:
    spec = ModelSpec.model_validate({"model": "m", "task": "speech", "device": "cpu"} | fields)
    engine = SpeechEngine(spec, folder, available_cpus())
    warm(spec, engine)
    return engine


@pytest.fixture(scope="module")
def base(demo_weights: Callable[[str], Path]) -> Iterator[SpeechEngine]:
    engine = built(demo_weights(BASE))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def english(demo_weights: Callable[[str], Path]) -> Iterator[SpeechEngine]:
    engine = built(demo_weights(ENGLISH_ONLY))
    yield engine
    engine.close()


def test_properties_of_the_models(base: SpeechEngine, english: SpeechEngine) -> None:
    assert base.multilingual
    assert {"en", "de", "fr", "ja"} <= base.languages
    assert "yue" not in base.languages
    assert not english.multilingual
    assert english.languages == {"en"}
    assert base.device == "cpu"


def test_a_long_recording(base: SpeechEngine, speak: Speak) -> None:
    audio, emitted = samples(speak(LONG)), list[Segment]()
    found = transcribe(base, audio, language="en", on_segment=emitted.append)
    assert word_errors(LONG, found.text) <= 0.12, found.text
    assert found.duration == pytest.approx(len(audio) / RATE)
    assert emitted == list(found.segments)
    starts = [segment.start for segment in found.segments]
    assert len(starts) > 5
    assert starts == sorted(starts)
    assert all(0 <= s.start <= s.end <= found.duration + 0.1 for s in found.segments)
    assert {segment.seek for segment in found.segments} > {0}


def test_speech_on_both_sides_of_a_long_silence_is_found(base: SpeechEngine, speak: Speak) -> None:
    speech = samples(speak(SHORT))
    audio = np.concatenate([silence(5), speech, silence(20), speech, silence(3)])
    found = transcribe(base, audio, language="en")
    assert word_errors(f"{SHORT} {SHORT}", found.text) <= 0.2, found.text
    second = 25 + len(speech) / RATE
    assert found.segments[0].start == pytest.approx(5, abs=1)
    assert any(abs(segment.start - second) < 1 for segment in found.segments)
    assert not any(7 + len(speech) / RATE < s.start < second - 1 for s in found.segments)


def test_the_language_is_detected_and_translated(base: SpeechEngine, speak: Speak) -> None:
    audio = samples(speak(GERMAN, "de"))
    written = transcribe(base, audio)
    assert written.language == "de"
    assert word_errors(GERMAN, written.text) <= 0.4, written.text
    english = transcribe(base, audio, task="translate").text.lower()
    assert "wetter" not in english
    assert [word for word in ("weather", "park", "ice", "today") if word in english], english


def test_words_have_increasing_times_inside_their_segments(
    base: SpeechEngine, speak: Speak
) -> None:
    found = transcribe(base, samples(speak(LONG)), language="en", word_timestamps=True)
    words = [word for segment in found.segments for word in segment.words]
    assert len(words) == pytest.approx(len(LONG.split()), rel=0.1)
    assert "".join(word.word for word in words).strip() == found.text
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    for segment in found.segments:
        assert segment.start <= segment.words[0].start
        assert segment.words[-1].end <= segment.end
    spoken = words[-1].end - words[0].start
    assert spoken == pytest.approx(found.duration, rel=0.1)


@pytest.mark.parametrize("kind", ["nothing", "one sample", "silence", "noise", "hum", "clicks"])
def test_no_speech_has_no_text(base: SpeechEngine, kind: str) -> None:
    rng, time = np.random.default_rng(5), np.arange(40 * RATE) / RATE
    audio = {
        "nothing": silence(0),
        "one sample": np.ones(1, np.float32),
        "silence": silence(40),
        "noise": (0.05 * rng.standard_normal(40 * RATE)),
        "hum": 0.2 * np.sin(2 * np.pi * 50 * time),
        "clicks": (rng.random(40 * RATE) > 0.9999).astype(np.float32),
    }[kind].astype(np.float32)
    assert transcribe(base, audio).segments == ()


def test_requests_of_all_kinds_share_passes_without_mixing(
    base: SpeechEngine, speak: Speak
) -> None:
    requests: list[tuple[Float32, dict[str, Any]]] = [
        (samples(speak(SHORT)), {"language": "en"}),
        (samples(speak(GERMAN, "de")), {}),
        (samples(speak(GERMAN, "de")), {"task": "translate"}),
        (samples(speak(LONG)), {"language": "en"}),
        (samples(speak(SHORT)), {"language": "en", "prompt": "A traveller speaks."}),
        (samples(speak(SHORT)), {"language": "en", "word_timestamps": True}),
        (silence(3), {}),
    ]
    alone = [transcribe(base, audio, **options) for audio, options in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        running = [pool.submit(transcribe, base, audio, **options) for audio, options in requests]
        together = [one.result() for one in running]
    for first, second in zip(alone, together, strict=True):
        assert first.language == second.language
        if first.text:
            assert word_errors(first.text, second.text) <= 0.1, (first.text, second.text)
        assert bool(first.text) == bool(second.text)


def test_a_short_request_overtakes_a_long_one(english: SpeechEngine, speak: Speak) -> None:
    audio = np.tile(samples(speak(LONG)), 4)
    begun = threading.Event()
    done: list[str] = []

    def long() -> None:
        transcribe(english, audio, language="en", on_segment=lambda segment: begun.set())
        done.append("long")

    thread = threading.Thread(target=long)
    thread.start()
    assert begun.wait(120)
    assert transcribe(english, samples(speak(SHORT)), language="en").text
    done.append("short")
    thread.join()
    assert done == ["short", "long"]


def test_a_cancelled_request_stops(english: SpeechEngine, speak: Speak) -> None:
    audio = np.tile(samples(speak(LONG)), 4)
    begun = threading.Event()
    options = SpeechOptions(language="en", on_segment=lambda segment: begun.set())
    with pytest.raises(Cancelled):
        english.transcribe(audio, options, begun.is_set)
    assert not english._queue._recordings
    assert transcribe(english, samples(speak(SHORT)), language="en").text


def test_prompts_have_no_special_tokens(base: SpeechEngine) -> None:
    decoder = base._decoder
    specials = decoder.prompt_tokens("<|translate|>hello<|endoftext|>")
    assert specials
    assert max(specials) < base._model.hf_tokenizer.token_to_id("<|endoftext|>")
    assert decoder.prompt_tokens(None) == decoder.prompt_tokens("  ") == ()
    assert len(decoder.prompt_tokens("many words " * 1000)) == 223
    assert decoder.prompt_tokens("hello") == decoder.prompt_tokens(" hello ")


@pytest.mark.parametrize("prompt", ["Modelfleet. " * 400, "<|endoftext|>", "\0", "🦊" * 300])
def test_unusual_prompts(base: SpeechEngine, speak: Speak, prompt: str) -> None:
    assert transcribe(base, samples(speak(SHORT)), language="en", prompt=prompt).duration > 3


def test_the_requested_temperature_is_used(base: SpeechEngine, speak: Speak) -> None:
    found = transcribe(base, samples(speak(SHORT)), language="en", temperature=0.3)
    assert {segment.temperature for segment in found.segments} == {0.3}


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp3", ["-b:a", "64k"]), ("a.m4a", ["-c:a", "aac"]), ("a.ogg", ["-c:a", "libvorbis"]),
     ("a.opus", ["-b:a", "24k"]), ("a.flac", []), ("a.webm", ["-c:a", "libopus"]),
     ("a.wav", ["-ar", "8000", "-ac", "2"])],
)  # fmt: skip
def test_recordings_of_many_kinds(
    english: SpeechEngine,
    speak: Speak,
    tmp_path: Path,
    name: str,
    options: list[str],
) -> None:
    require_program("ffmpeg")
    command = ["ffmpeg", "-loglevel", "error", "-i", str(speak(SHORT)), *options]
    subprocess.run([*command, str(tmp_path / name)], check=True, stdin=subprocess.DEVNULL)
    found = transcribe(english, samples(tmp_path / name))
    assert word_errors(SHORT, found.text) <= 0.2, found.text


@pytest.fixture
async def english_http(english: SpeechEngine) -> AsyncIterator[httpx.AsyncClient]:
    spec = ModelSpec.model_validate({"model": ENGLISH_ONLY, "task": "speech"})
    server = ServerState(spec, 1)
    server.set_ready(english)
    app = create_app(server)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client


async def test_an_english_only_checkpoint_over_http(
    english_http: httpx.AsyncClient, speak: Speak
) -> None:
    content = speak(SHORT).read_bytes()

    async def post(path: str, **fields: str) -> httpx.Response:
        data = {"model": ENGLISH_ONLY} | fields
        return await english_http.post(f"/v1/audio/{path}", data=data, files={"file": content})

    answers = await asyncio.gather(
        post("transcriptions"), post("transcriptions", language="english"),
        post("transcriptions", language="de"), post("translations"),
    )  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 400, 400]
    assert word_errors(SHORT, answers[0].json()["text"]) <= 0.2
    for refused in answers[2:]:
        assert "English-only" in refused.json()["error"]["message"]
    verbose = await post("transcriptions", response_format="verbose_json")
    assert verbose.json()["language"] == "english"


def test_an_english_only_checkpoint_declared_multilingual(
    demo_weights: Callable[[str], Path],
) -> None:
    from fleet_server.load_error import LoadError

    with pytest.raises(LoadError, match="English-only"):
        built(demo_weights(ENGLISH_ONLY), multilingual=True)
