"""Recordings made with espeak-ng, transcribed by the running fleet."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jiwer
import openai
import pytest

from support.local_fleet import CHAT
from support.required import require_program

MODEL = "openai/whisper-base"
ENGLISH = (
    "The quick brown fox jumps over the lazy dog. Yesterday we walked along the river and "
    "talked about the weather, the garden and the price of bread."
)
GERMAN = "Guten Morgen. Heute ist das Wetter sehr schön. Wir gehen in den Park und essen ein Eis."

Speak = Callable[..., Path]
PLAIN = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip(),
     jiwer.ReduceToListOfListOfWords()]
)  # fmt: skip


def word_errors(reference: str, hypothesis: str) -> float:
    rate: float = jiwer.wer(
        reference, hypothesis, reference_transform=PLAIN, hypothesis_transform=PLAIN
    )
    return rate


async def transcribe(client: openai.AsyncOpenAI, path: Path, **fields: Any) -> Any:
    given = {"model": MODEL} | fields
    return await client.audio.transcriptions.create(file=path, **given)


async def test_speech_is_transcribed(client: openai.AsyncOpenAI, speak: Speak) -> None:
    answer = await transcribe(client, speak(ENGLISH))
    assert word_errors(ENGLISH, answer.text) <= 0.25, answer.text


async def test_a_chat_with_a_recording_is_one_with_its_text(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, speak: Speak
) -> None:
    """The chat model gets what the speech model of the fleet heard."""

    async def chat(part: dict[str, Any]) -> httpx.Response:
        messages = [{"role": "user", "content": [part]}]
        body = {"model": CHAT, "messages": messages, "max_tokens": 24, "temperature": 0}
        return await http.post("/v1/chat/completions", json=body)

    def spoken(data: bytes) -> dict[str, Any]:
        audio = {"data": base64.b64encode(data).decode(), "format": "wav"}
        return {"type": "input_audio", "input_audio": audio}

    path = speak("What is the capital of France?")
    text = (await transcribe(client, path)).text.strip()
    written = (await chat({"type": "text", "text": text})).json()
    heard = (await chat(spoken(path.read_bytes()))).json()
    assert "Paris" in heard["choices"][0]["message"]["content"], (text, heard)
    assert heard["usage"]["prompt_tokens"] == written["usage"]["prompt_tokens"]
    broken = await chat(spoken(b"this is no recording " * 100))
    assert broken.status_code == 400, broken.text
    assert broken.json()["error"]["param"] == "messages[0].content[0]"


# The official client marks its method for translations as deprecated.
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_german_is_transcribed_and_translated(
    client: openai.AsyncOpenAI, speak: Speak
) -> None:
    path = speak(GERMAN, "de")
    written = (await transcribe(client, path, language="de")).text
    assert word_errors(GERMAN, written) <= 0.4, written
    english = (await client.audio.translations.create(file=path, model=MODEL)).text.lower()
    assert [word for word in ("weather", "park", "ice", "today") if word in english], english
    assert "wetter" not in english


async def test_the_five_formats(client: openai.AsyncOpenAI, speak: Speak) -> None:
    path = speak(ENGLISH)
    text = (await transcribe(client, path)).text
    plain = await transcribe(client, path, response_format="text")
    assert plain.strip() == text.strip()
    assert (await transcribe(client, path, response_format="srt")).startswith("1\n00:00:0")
    assert (await transcribe(client, path, response_format="vtt")).startswith("WEBVTT\n")
    verbose = await transcribe(client, path, response_format="verbose_json")
    assert verbose.text.strip() == text.strip()
    assert verbose.language in ("english", "en")
    assert 5 < verbose.duration < 20
    assert verbose.segments[0].start < verbose.segments[-1].end <= verbose.duration + 1


async def test_words_have_times(client: openai.AsyncOpenAI, speak: Speak) -> None:
    answer = await transcribe(
        client, speak(ENGLISH), response_format="verbose_json", timestamp_granularities=["word"]
    )
    starts = [word.start for word in answer.words]
    assert len(starts) > 15
    assert starts == sorted(starts)


@pytest.fixture
def mp3(speak: Speak, tmp_path: Path) -> Path:
    require_program("ffmpeg")
    path = tmp_path / "speech.mp3"
    command = ["ffmpeg", "-loglevel", "error", "-i", str(speak(ENGLISH)), str(path)]
    subprocess.run(command, check=True, timeout=180, stdin=subprocess.DEVNULL)
    return path


async def test_compressed_recordings(client: openai.AsyncOpenAI, mp3: Path) -> None:
    assert word_errors(ENGLISH, (await transcribe(client, mp3)).text) <= 0.3


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
async def test_invalid_uploads_are_rejected(
    http: httpx.AsyncClient, speak: Speak, path: str
) -> None:
    good = speak("One two three.").read_bytes()

    async def refused(
        status: int, data: dict[str, str], content: bytes | None = good
    ) -> dict[str, Any]:
        files = {"other" if content is None else "file": ("a.wav", content or b"")}
        answer = await http.post(path, data={"model": MODEL} | data, files=files)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    assert (await refused(400, {}, None))["param"] == "file"
    assert (await refused(400, {}, b""))["param"] == "file"
    assert (await refused(400, {}, b"this is no recording " * 100))["param"] == "file"
    assert (await refused(400, {}, good[:60]))["param"] == "file"
    assert (await refused(400, {"response_format": "yaml"}))["param"] == "response_format"
    assert (await refused(400, {"temperature": "hot"}))["param"] == "temperature"
    assert (await refused(404, {"model": "nobody/knows"}))["code"] == "model_not_found"
    wrong = await refused(400, {"model": "sentence-transformers/all-MiniLM-L6-v2"})
    assert wrong["code"] == "wrong_task"
    assert "/v1/embeddings" in wrong["message"]


async def test_an_unknown_language_is_rejected(client: openai.AsyncOpenAI, speak: Speak) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await transcribe(client, speak("One two three."), language="klingon")
    assert caught.value.param == "language"


async def test_a_recording_beyond_the_limit_is_rejected(http: httpx.AsyncClient) -> None:
    limit = 25 * 1024 * 1024
    answer = await http.post(
        "/v1/audio/transcriptions", data={"model": MODEL},
        files={"file": ("a.wav", b"\0" * (limit + 1))},
    )  # fmt: skip
    assert answer.status_code == 413
    assert str(limit) in answer.json()["error"]["message"]
