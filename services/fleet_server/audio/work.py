"""The blocking half of a speech request, decoding and transcribing, seen from the event loop."""

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
from fleet_server.protocols import Segment, SpeechModel, SpeechOptions, Transcript


@dataclass(frozen=True, slots=True)
class Work:
    """`gone` is set when nobody waits any more: decoder and engine then stop soon.

    `file` is closed by the thread that reads it, which may outlive the request.
    """

    asked: SpeechRequest
    file: IO[bytes]
    limits: Limits
    gone: threading.Event

    async def results(
        self, threads: ThreadPoolExecutor, model: SpeechModel
    ) -> AsyncIterator[Segment | Transcript]:
        """Segments as they become certain when the request is streamed; then the transcript."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[Segment | None] = asyncio.Queue()

        def tell(segment: Segment) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(heard.put_nowait, segment)

        future = loop.run_in_executor(threads, self._run, model, tell)

        def finished(done: asyncio.Future[Transcript]) -> None:
            if done.cancelled():
                self.file.close()
            else:
                done.exception()  # looked at even when nobody waits any more
            heard.put_nowait(None)

        future.add_done_callback(finished)
        while (segment := await heard.get()) is not None:
            yield segment
        yield future.result()

    def _run(self, model: SpeechModel, tell: Callable[[Segment], None]) -> Transcript:
        asked = self.asked
        with self.file as file:
            audio = decode(file, self.limits.max_audio_seconds, self.gone.is_set)
        options = SpeechOptions(
            task=asked.task,
            language=asked.language,
            prompt=asked.prompt,
            temperature=asked.temperature,
            word_timestamps=Granularity.WORD in asked.granularities,
            on_segment=tell if asked.stream else None,
        )
        return model.transcribe(audio, options, self.gone.is_set)
