"""Runs the blocking part of a speech request, decoding and transcription, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from fleet_contract.api.speech import Granularity
from fleet_contract.spec_parts import Limits
from fleet_server.audio.decode import decode
from fleet_server.audio.request import SpeechRequest
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.protocols import Float32, Segment, SpeechModel, SpeechOptions, Transcript

IN_MEMORY = 16 * 1024 * 1024
"""Bytes of samples in memory, about 4 minutes; longer recordings use a temporary file."""


@dataclass(frozen=True, slots=True)
class Work:
    """`gone` is set when the request has ended: decoder and engine then stop soon.

    `file` is closed by the thread that reads it, which may outlive the request.
    """

    parsed: SpeechRequest
    file: IO[bytes]
    limits: Limits
    scratch: Scratch
    caller: str
    gone: threading.Event

    async def results(
        self, threads: ThreadPoolExecutor, model: SpeechModel
    ) -> AsyncIterator[Segment | Transcript]:
        """If the request is streamed, segments as they are certain; at last the transcript."""
        loop = asyncio.get_running_loop()
        segments: asyncio.Queue[Segment | None] = asyncio.Queue()

        def emit(segment: Segment) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so there is no reader
                loop.call_soon_threadsafe(segments.put_nowait, segment)

        future = loop.run_in_executor(threads, self._run, model, emit)

        def finished(done: asyncio.Future[Transcript]) -> None:
            if done.cancelled():  # before the thread began, so the thread does not close the file
                self.file.close()
            else:
                done.exception()  # retrieved, or asyncio logs it if the request has ended
            segments.put_nowait(None)

        future.add_done_callback(finished)
        while (segment := await segments.get()) is not None:
            yield segment
        yield future.result()

    def _run(self, model: SpeechModel, emit: Callable[[Segment], None]) -> Transcript:
        with ScratchFile(self.scratch, IN_MEMORY, self.caller) as samples:
            with self.file as file:
                audio = decode(file, self.limits.max_audio_seconds, self.gone.is_set, samples)
            return self._transcribed(audio, model, emit)

    def _transcribed(
        self, audio: Float32, model: SpeechModel, emit: Callable[[Segment], None]
    ) -> Transcript:
        parsed = self.parsed
        options = SpeechOptions(
            task=parsed.task,
            language=parsed.language,
            prompt=parsed.prompt,
            temperature=parsed.temperature,
            word_timestamps=Granularity.WORD in parsed.granularities,
            on_segment=emit if parsed.stream else None,
            caller=self.caller,
        )
        return model.transcribe(audio, options, self.gone.is_set)
