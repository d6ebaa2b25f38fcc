"""The real app with a fake speech model that returns one word per second of audio."""

from __future__ import annotations

import io
import threading
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.protocols import Cancelled, Float32, Segment, SpeechOptions, Transcript, Word
from fleet_server.state import ServerState

RATE = 16_000
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class CountingModel:
    """Implements SpeechModel. While `hold` is set, a transcription waits until it is cleared."""

    device = "cpu"

    def __init__(self, languages: tuple[str, ...] = ("en", "de"), concurrent: int = 2) -> None:
        self.languages = frozenset(languages)
        self.multilingual = languages != ("en",)
        self.max_concurrent = concurrent
        self.asked: list[SpeechOptions] = []
        self.hold = threading.Event()
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.error: Exception | None = None

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        self.asked.append(options)
        self.entered.release()
        try:
            if self.error is not None:
                raise self.error
            segments = [
                self._segment(second, options) for second in range(round(len(audio) / RATE))
            ]
            for segment in segments[:1]:
                if options.on_segment is not None:
                    options.on_segment(segment)
            while self.hold.is_set():
                if cancelled():
                    raise Cancelled
                threading.Event().wait(0.005)
            return Transcript(options.language or "de", len(audio) / RATE, segments)
        finally:
            self.left.release()

    def _segment(self, second: int, options: SpeechOptions) -> Segment:
        text = f" {WORDS[second % len(WORDS)]}"
        words = [Word(text, second, second + 0.5)] if options.word_timestamps else []
        return Segment(second, second + 1, text, tokens=(50364, second), words=words)

    def close(self) -> None:
        self.hold.clear()


def wav(seconds: float = 2.0, *, rate: int = RATE, channels: int = 1) -> bytes:
    """A tone as a WAV file."""
    time = np.arange(round(seconds * rate)) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.repeat(tone, channels).tobytes())
    return file.getvalue()


@pytest.fixture
def make_wav() -> Callable[..., bytes]:
    return wav


@pytest.fixture
def counting_model() -> Callable[..., CountingModel]:
    return CountingModel


@pytest.fixture
def make_server() -> Callable[..., ServerState]:
    """Make the state of a server with a model; with `loaded=False`, without one."""

    def make(model: CountingModel, *, loaded: bool = True, **fields: Any) -> ServerState:
        spec = ModelSpec.model_validate({"model": "tiny", "task": "speech"} | fields)
        server = ServerState(spec, 1)
        if loaded:
            server.set_ready(model)
        return server

    return make


@pytest.fixture
def serve(make_server: Callable[..., ServerState]) -> Serve:
    """`async with serve(model, **spec fields) as client`; `client.server` is the state."""

    @asynccontextmanager
    async def start(model: Any = None, **fields: Any) -> AsyncIterator[httpx.AsyncClient]:
        server = make_server(model or CountingModel(), **fields)
        app = create_app(server)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            client.server = server  # type: ignore[attr-defined]
            yield client
        server.close()

    return start
