"""The speech engine: requests queue windows, lanes decode them in shared passes.

Speech is detected (`speech`), cut into windows (`windows`), batched across requests
(`window_queue`), decoded (`decoder`) and, if the result is doubtful, decoded again (`fallback`).
Nothing is fetched: the weights, the tokenizer and the detector are files on disk.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel

from fleet_contract.errors import NotReady
from fleet_contract.spec import ModelSpec
from fleet_prepare import cublas
from fleet_server.engines.ctranslate2 import files
from fleet_server.engines.ctranslate2.decoder import Decoder
from fleet_server.engines.ctranslate2.device import Placement, compute_type, place
from fleet_server.engines.ctranslate2.fallback import FILLED, SHORTENED
from fleet_server.engines.ctranslate2.recording import Recording
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE, find_speech
from fleet_server.engines.ctranslate2.window_queue import Closed, WindowQueue
from fleet_server.engines.ctranslate2.windows import SHORT, cut
from fleet_server.load_error import LoadError
from fleet_server.protocols import Cancelled, Float32, SpeechOptions, Transcript

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""How often a waiting request checks for its cancellation."""
CONCURRENT_PER_LANE = 8
"""Requests that run at once for each lane, so that their windows fill batches."""


class SpeechEngine:
    """Implements SpeechModel."""

    def __init__(self, spec: ModelSpec, folder: Path, threads: int) -> None:
        files.check(folder)
        if spec.device.startswith("cuda"):
            cublas.preload()
        placement = _placement(spec, threads, (folder / "model.bin").stat().st_size)
        self.device = spec.device
        self.healthy = True
        self._model = _load(folder, placement)
        self.multilingual = bool(self._model.model.is_multilingual)
        if spec.multilingual and not self.multilingual:
            raise LoadError(
                f"The spec declares {spec.model} multilingual, but the model is English-only.",
                "Remove `multilingual` from the spec.",
            )
        if spec.multilingual is False:
            self.multilingual = False
        self.languages = self._known_languages()
        self.max_concurrent = placement.lanes * CONCURRENT_PER_LANE
        self._decoder = Decoder(self._model)
        self._short = placement.short_batch is not None
        batching = spec.batching.enabled
        self._queue = WindowQueue(
            placement.batch if batching else 1, placement.short_batch if batching else 1
        )
        self._lanes = [
            threading.Thread(target=self._run, name=f"speech-{number}", daemon=True)
            for number in range(placement.lanes)
        ]
        for lane in self._lanes:
            lane.start()

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        """See SpeechModel; `cancelled` is polled about 20 times a second. Raises Cancelled."""
        language = options.language if self.multilingual else "en"
        duration = len(audio) / RATE
        # Translations, unlike transcripts, lose accuracy with short padding.
        short = self._short and options.task != "translate"
        windows = cut(find_speech(audio, cancelled), SHORT if short else LONGEST)
        if not windows:
            return Transcript(language or "en", duration)
        recording = Recording(
            audio, options, self._decoder.prompt_tokens(options.prompt), language,
            deque(windows), SHORTENED if short else FILLED,
        )  # fmt: skip
        try:
            self._queue.put(recording)
            while not recording.done.wait(POLL_SECONDS):
                if cancelled():
                    raise Cancelled
        except Closed:
            raise _closed() from None
        finally:
            self._queue.drop(recording)
        if recording.error is not None:
            raise _closed() if isinstance(recording.error, Closed) else recording.error
        return Transcript(recording.language or "en", duration, tuple(recording.ordered()))

    def warm(self, audio: Float32) -> None:
        """See WarmsUp; without padding to a window the encoder takes a sixth of the time."""
        find_speech(audio, lambda: False)
        self._decoder.warm(audio)

    def close(self) -> None:
        """Wait for running passes; requests that are not done fail."""
        self._queue.close()
        for lane in self._lanes:
            lane.join()

    def _run(self) -> None:
        while (batch := self._queue.take()) is not None:
            try:
                outcomes = self._decoder.run(batch)
            except Exception as error:
                logger.exception("a pass of the speech model failed")
                # A CUDA context does not recover from an error.
                self.healthy = self.healthy and not self.device.startswith("cuda")
                self._queue.fail(batch, error)
            else:
                self._queue.finish(batch, outcomes)

    def _known_languages(self) -> frozenset[str]:
        if not self.multilingual:
            return frozenset({"en"})
        tokenizer = self._model.hf_tokenizer
        return frozenset(
            code
            for code in self._model.supported_languages
            if tokenizer.token_to_id(f"<|{code}|>") is not None
        )


def _closed() -> NotReady:
    return NotReady("The server is stopping; please try again.", retry_after=2)


def _placement(spec: ModelSpec, threads: int, weights: int) -> Placement:
    kind = spec.device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise LoadError(
            f"CTranslate2 does not run on {spec.device}.", "Use device cpu, cuda or cuda:N."
        )
    try:
        supported = ctranslate2.get_supported_compute_types(kind)
    except RuntimeError as error:
        raise LoadError(
            f"CTranslate2 cannot use {spec.device}: {error}.",
            "Check the CUDA driver and libraries, or use device cpu.",
        ) from error
    chosen = compute_type(spec.device, spec.dtype, supported)
    return place(
        spec.device, threads, chosen, weights, spec.batching.max_size, spec.limits.max_concurrent
    )


def _load(folder: Path, placement: Placement) -> WhisperModel:
    try:
        return WhisperModel(
            str(folder), device=placement.device, device_index=placement.index,
            compute_type=placement.compute_type, cpu_threads=placement.threads,
            num_workers=placement.lanes, local_files_only=True,
        )  # fmt: skip
    except Exception as error:
        raise LoadError(f"{folder} could not be loaded: {error}.", files.HINT) from error
