"""The speech engine: requests put their windows in a line, lanes decode them in shared passes.

Speech is found first (`speech`), cut into windows (`windows`), batched across requests (`line`),
decoded (`decoder`) and, where the answer is doubtful, decoded again (`guards`). Nothing is ever
fetched: the weights, the tokenizer and the detector are files on disk.
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
from fleet_server.engines.ctranslate2.recording import Job
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE, find_speech
from fleet_server.engines.ctranslate2.window_queue import Closed, WindowQueue
from fleet_server.engines.ctranslate2.windows import SHORT, plan
from fleet_server.load_error import LoadError
from fleet_server.protocols import Cancelled, Float32, SpeechOptions, Transcript

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""How often a waiting request asks whether it was cancelled."""
CONCURRENT_PER_LANE = 8


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
                f"The spec says that {spec.model} is multilingual; its files know English only.",
                "Leave `multilingual` out of the spec.",
            )
        if spec.multilingual is False:
            self.multilingual = False
        self.languages = self._known_languages()
        self.max_concurrent = placement.lanes * CONCURRENT_PER_LANE
        self._decoder = Decoder(self._model)
        self._short = placement.short_batch is not None
        batching = spec.batching.enabled
        self._line = WindowQueue(
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
        """See SpeechModel; `cancelled` is asked about 20 times a second. Raises Cancelled."""
        language = options.language if self.multilingual else "en"
        duration = len(audio) / RATE
        # A translation of a window with little padding errs more often than a transcript.
        short = self._short and options.task != "translate"
        windows = plan(find_speech(audio, cancelled), SHORT if short else LONGEST)
        if not windows:
            return Transcript(language or "en", duration)
        job = Job(
            audio, options, self._decoder.prompt_tokens(options.prompt), language,
            deque(windows), SHORTENED if short else FILLED,
        )  # fmt: skip
        try:
            self._line.put(job)
            while not job.done.wait(POLL_SECONDS):
                if cancelled():
                    raise Cancelled
        except Closed:
            raise _closed() from None
        finally:
            self._line.drop(job)
        if job.error is not None:
            raise _closed() if isinstance(job.error, Closed) else job.error
        return Transcript(job.language or "en", duration, tuple(job.ordered()))

    def warm(self, audio: Float32) -> None:
        """See WarmsUp: the encoder takes less than a window, and a sixth of the time for it."""
        find_speech(audio, lambda: False)
        self._decoder.warm(audio)

    def close(self) -> None:
        """Waits for the passes that run; requests fail."""
        self._line.close()
        for lane in self._lanes:
            lane.join()

    def _run(self) -> None:
        while (batch := self._line.take()) is not None:
            try:
                outcomes = self._decoder.run(batch)
            except Exception as error:
                logger.exception("a pass of the speech model failed")
                # A CUDA context does not recover from an error.
                self.healthy = self.healthy and not self.device.startswith("cuda")
                self._line.fail(batch, error)
            else:
                self._line.finish(batch, outcomes)

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
