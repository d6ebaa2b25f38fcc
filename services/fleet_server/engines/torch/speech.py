"""TorchSpeech: Whisper through transformers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForSpeechSeq2Seq,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
)

from fleet_contract.errors import BadRequest, NotReady, TooLarge, UnsupportedParameter
from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.torch.checkpoint import ModelFolder
from fleet_server.engines.torch.runtime import Runtime, is_out_of_memory
from fleet_server.engines.torch.transcription import (
    BLOCK_SECONDS,
    RATE,
    WINDOW_SECONDS,
    complete,
    segments,
)
from fleet_server.load_error import LoadError
from fleet_server.protocols import Cancelled, Float32, Segment, SpeechOptions, Transcript

QUIET = 1e-4
"""Largest absolute sample of a silent recording: a few steps of 16-bit audio."""
THRESHOLDS: dict[str, Any] = {
    "compression_ratio_threshold": 1.35,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}
"""When a window is decoded again at a higher temperature, or is silent: the values in transformers'
documentation, whose compression ratio is that of token ids."""
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class TorchSpeech:
    """A SpeechModel (fleet_server.protocols). Raises LoadError for files it cannot serve."""

    max_concurrent = 1

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        checkpoint = ModelFolder.find(folder)
        if checkpoint.config.get("model_type") != "whisper":
            kind = checkpoint.config.get("model_type")
            raise LoadError(f"The torch engine supports Whisper for speech, not {kind!r}.")
        self._runtime = Runtime.start(spec, threads, checkpoint.stored_dtype, dtype=dtype)
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), **checkpoint.source)
        self._features = AutoFeatureExtractor.from_pretrained(str(folder), **checkpoint.source)
        self._model: Any = checkpoint.load(AutoModelForSpeechSeq2Seq, self._runtime, spec.dtype)
        config = self._model.generation_config
        if getattr(config, "no_timestamps_token_id", None) is None:
            raise LoadError(
                "generation_config.json has no timestamp tokens; it is missing or outdated.",
                "Fetch the model again.",
            )
        known = getattr(config, "lang_to_id", None) or {}
        self._codes = {number: word.strip("<|>") for word, number in known.items()}
        own = bool(getattr(config, "is_multilingual", bool(known)))
        self.multilingual = own if spec.multilingual is None else spec.multilingual and own
        self.languages = frozenset(self._codes.values()) if self.multilingual else frozenset({"en"})
        self.device = str(self._runtime.device)
        self.dtype = str(self._runtime.dtype).removeprefix("torch.")
        self._lock = threading.Lock()

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        """See SpeechModel. Raises Cancelled, BadRequest, TooLarge."""
        if options.word_timestamps:
            raise UnsupportedParameter(
                "Word timestamps are not supported by this model's engine; engines that support "
                "them: ctranslate2.",
                param="timestamp_granularities",
            )
        duration = audio.size / RATE
        if audio.size == 0 or float(np.abs(audio).max()) < QUIET:
            return Transcript(options.language or "en", duration)
        with self._lock, torch.inference_mode():
            if self._model is None:
                raise NotReady("The engine is stopping; please try again.", retry_after=1)
            try:
                return self._transcribe(audio, options, cancelled)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._runtime.free_memory()
                raise TooLarge("The recording does not fit into the free memory.") from error

    def close(self) -> None:
        """Wait for a running transcription and free the model."""
        with self._lock:
            self._model = None

    def _transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        duration = audio.size / RATE
        how = self._arguments(options, cancelled)
        language = options.language or self._language(audio) if self.multilingual else "en"
        if self.multilingual:
            how |= {"language": language, "task": options.task}
        kept: list[Segment] = []
        position = 0.0
        while position < duration:
            if cancelled():
                raise Cancelled
            start = round(position * RATE)
            block = audio[start : start + BLOCK_SECONDS * RATE]
            end = (start + block.size) / RATE
            found = self._model.generate(**self._inputs(block), **how)["segments"][0]
            made = segments(found, self._tokenizer, position, duration)
            done, position = complete(made, position, end, last=end >= duration)
            kept.extend(done)
        return Transcript(language, duration, tuple(kept))

    def _arguments(self, options: SpeechOptions, cancelled: Callable[[], bool]) -> dict[str, Any]:
        fixed = options.temperature is not None
        how = THRESHOLDS | {
            "return_timestamps": True,
            "return_segments": True,
            "condition_on_prev_tokens": False,
            "temperature": options.temperature if fixed else TEMPERATURES,
            "stopping_criteria": StoppingCriteriaList([_Stop(cancelled)]),
        }
        if options.prompt:
            try:
                ids = self._tokenizer.get_prompt_ids(options.prompt, return_tensors="pt")
            except ValueError as error:
                raise BadRequest(f"The prompt cannot be used: {error}", param="prompt") from error
            how["prompt_ids"] = ids.to(self._runtime.device)
        return how

    def _inputs(self, block: Float32) -> dict[str, torch.Tensor]:
        """Log-mel frames: padded to a window for a short block, unpadded for a longer one."""
        is_short = block.size <= WINDOW_SECONDS * RATE
        made = self._features(
            block,
            sampling_rate=RATE,
            return_tensors="pt",
            return_attention_mask=True,
            truncation=False,
            padding="max_length" if is_short else "longest",
        )
        return {
            "input_features": made["input_features"].to(self._runtime.device, self._runtime.dtype),
            "attention_mask": made["attention_mask"].to(self._runtime.device),
        }

    def _language(self, audio: Float32) -> str:
        inputs = self._inputs(audio[: WINDOW_SECONDS * RATE])
        found = self._model.detect_language(inputs["input_features"])
        code: str = self._codes[int(found[0])]
        return code


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends generation by raising; transformers calls it after every token."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if self._cancelled():
            raise Cancelled
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
