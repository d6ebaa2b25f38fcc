"""Decodes a batch of windows in one pass of the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage, get_suppressed_tokens

from fleet_server.engines.ctranslate2 import timestamps
from fleet_server.engines.ctranslate2.fallback import (
    DecodingOptions,
    DecodingResult,
    compression_ratio,
)
from fleet_server.engines.ctranslate2.recording import Recording
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE
from fleet_server.engines.ctranslate2.window_queue import Batch, WindowResult
from fleet_server.engines.ctranslate2.windows import SHORT_FILLED, AudioWindow
from fleet_server.engines.ctranslate2.words import Alignable, align
from fleet_server.protocols import Float32, Segment

BEAM_SIZE = 5
BEST_OF = 5
MAX_LENGTH = 448
"""Positions of Whisper's decoder; half of them at most are new tokens."""
WARM_TOKENS = 8
MAX_PROMPT = MAX_LENGTH // 2 - 1
MAX_PROMPT_CHARS = MAX_PROMPT * 64
"""Characters at the end of a prompt that are tokenised."""


class Decoder:
    """Thread-safe: CTranslate2 gives each calling thread its own worker."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model
        # On a CPU one window keeps all cores busy in the encoder, and the attention of several
        # exceeds the CPU's caches: 8 windows in one call take 1.5 times as long as 8 calls.
        # Half-precision outputs cannot be concatenated: numpy has no type CTranslate2 accepts.
        self._encodes_separately = (
            model.model.device == "cpu" and "float16" not in model.model.compute_type
        )
        self._tokenizers: dict[tuple[str, str], tuple[Tokenizer, Sequence[int]]] = {}

    def prompt_tokens(self, text: str | None) -> tuple[int, ...]:
        """The last `MAX_PROMPT` token ids of a client's prompt, without special tokens."""
        if not text or not text.strip():
            return ()
        tokenizer, _ = self._tokenizer("transcribe", "en")
        # Enough for the last tokens; the library holds the interpreter lock while it encodes.
        ids = tokenizer.encode(" " + text.strip()[-MAX_PROMPT_CHARS:])
        return tuple(token for token in ids if token < tokenizer.eot)[-MAX_PROMPT:]

    def run(self, batch: Batch) -> list[WindowResult]:
        """Decode the windows together. Raises what CTranslate2 raises."""
        attempt = batch[0][0].attempt(batch[0][1])
        encoded = self._encode([_samples(entry, window, attempt) for entry, window in batch])
        languages = self._languages(batch, encoded)
        results = self._generate(batch, languages, encoded, attempt.temperature)
        alignable: list[Alignable | None] = []
        outcomes: list[WindowResult] = []
        for (recording, window), language, result in zip(batch, languages, results, strict=True):
            segments, next_window = self._segments(recording, window, language, result)
            alignable.append((segments, window) if segments else None)
            outcomes.append(WindowResult(language, segments, next_window))
        if batch[0][0].options.word_timestamps:
            return self._with_words(batch, encoded, alignable, outcomes)
        return outcomes

    def warm(self, audio: Float32) -> None:
        """Decode a few tokens of `audio` without padding. Raises what CTranslate2 raises."""
        encoded = self._encode([audio])
        prompt = self._model.get_prompt(self._tokenizer("transcribe", "en")[0], [])
        length = len(prompt) + WARM_TOKENS
        self._model.model.generate(encoded, [prompt], max_length=length, beam_size=BEAM_SIZE)

    def _encode(self, samples: list[Float32]) -> Any:
        extractor, model = self._model.feature_extractor, self._model.model
        features = [extractor(audio, padding=0)[:, : extractor.nb_max_frames] for audio in samples]
        if len(features) == 1 or not self._encodes_separately:
            return model.encode(get_ctranslate2_storage(np.stack(features)))
        rows = [np.array(model.encode(get_ctranslate2_storage(one[None]))) for one in features]
        return get_ctranslate2_storage(np.concatenate(rows))

    def _languages(self, batch: Batch, encoded: Any) -> list[str]:
        """The language of each window; probabilities are summed over a recording's windows."""
        known = {id(recording): recording.language for recording, _ in batch}
        if None in known.values():
            likely: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
            found = self._model.model.detect_language(encoded)
            for (recording, _), probabilities in zip(batch, found, strict=True):
                for token, probability in probabilities:
                    likely[id(recording)][token] += probability
            for recording, _ in batch:
                if known[id(recording)] is None:
                    tokens = likely[id(recording)]
                    known[id(recording)] = max(tokens, key=tokens.__getitem__).strip("<|>")
        return [known[id(recording)] or "en" for recording, _ in batch]

    def _generate(
        self, batch: Batch, languages: list[str], encoded: Any, temperature: float
    ) -> list[DecodingResult]:
        prompts, suppressed = [], None
        for (recording, window), language in zip(batch, languages, strict=True):
            tokenizer, suppressed = self._tokenizer(recording.options.task, language)
            prompts.append(self._model.get_prompt(tokenizer, list(recording.prompt_of(window))))
        if temperature > 0:
            search = {
                "beam_size": 1, "num_hypotheses": BEST_OF, "sampling_topk": 0,
                "sampling_temperature": temperature,
            }  # fmt: skip
        else:
            search = {"beam_size": BEAM_SIZE, "patience": 1}
        # The first timestamp is within 50 steps of 20 ms, as in OpenAI's Whisper.
        results = self._model.model.generate(
            encoded, prompts, max_length=MAX_LENGTH, suppress_blank=True,
            suppress_tokens=suppressed, max_initial_timestamp_index=50,
            return_scores=True, return_no_speech_prob=True, **search,
        )  # fmt: skip
        return [self._result(result, temperature) for result in results]

    def _result(self, result: Any, temperature: float) -> DecodingResult:
        tokens = tuple(result.sequences_ids[0])
        tokenizer, _ = self._tokenizer("transcribe", "en")
        return DecodingResult(
            tokens=tokens,
            # CTranslate2's score is a mean over these tokens; Whisper's also counts the end token.
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=result.no_speech_prob,
            compression_ratio=compression_ratio(tokenizer.decode(list(tokens)).strip()),
            temperature=temperature,
        )

    def _segments(
        self, recording: Recording, window: AudioWindow, language: str, result: DecodingResult
    ) -> tuple[list[Segment], AudioWindow | None]:
        """The segments in `result`, and the window to decode next, if any."""
        if result.is_silence:
            # Short padding raises the probability of no speech, most of all in translations.
            filled = recording.attempt(window).filled
            retry = not filled and recording.can_retry(window, result)
            return [], window.retried(result) if retry else None
        if result.is_doubtful:
            if recording.can_retry(window, result):
                return [], window.retried(result)
            if window.is_tail and recording.options.temperature is None:
                return [], None
            result = window.best(result)
        tokenizer, _ = self._tokenizer(recording.options.task, language)
        truncated = len(result.tokens) >= MAX_LENGTH // 2 - 1
        found = timestamps.split(
            result.tokens, tokenizer.timestamp_begin, window.seconds, truncated=truncated
        )
        segments = [
            segment
            for span in found
            if (segment := _segment(span, window, result, tokenizer)) is not None
        ]
        return segments, window.rest(found[-1].end) if segments else None

    def _with_words(
        self,
        batch: Batch,
        encoded: Any,
        alignable: Sequence[Alignable | None],
        outcomes: Sequence[WindowResult],
    ) -> list[WindowResult]:
        """The outcomes with word timestamps; one alignment call per task and language."""
        kinds = [
            (recording.options.task, outcome.language)
            for (recording, _), outcome in zip(batch, outcomes, strict=True)
        ]
        result = list(outcomes)
        for kind in dict.fromkeys(kinds):
            chosen = [entry if own == kind else None
                      for entry, own in zip(alignable, kinds, strict=True)]  # fmt: skip
            if not any(chosen):
                continue
            found = align(self._model, self._tokenizer(*kind)[0], encoded, chosen)
            for number, segments in enumerate(found):
                if chosen[number] is not None:
                    result[number] = replace(result[number], segments=segments)
        return result

    def _tokenizer(self, task: str, language: str) -> tuple[Tokenizer, Sequence[int]]:
        key = (task, language)
        if key not in self._tokenizers:
            made = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual,
                task=task, language=language,
            )  # fmt: skip
            self._tokenizers[key] = (made, get_suppressed_tokens(made, [-1]) or ())
        return self._tokenizers[key]


def _samples(recording: Recording, window: AudioWindow, attempt: DecodingOptions) -> Float32:
    """The window's samples, padded with silence to a length independent of its batch."""
    audio = np.asarray(recording.audio[window.start : window.end], dtype=np.float32)
    return np.pad(audio, (0, (LONGEST if attempt.filled else SHORT_FILLED) - len(audio)))


def _segment(
    span: timestamps.TimedTokens, window: AudioWindow, result: DecodingResult, tokenizer: Tokenizer
) -> Segment | None:
    text = tokenizer.decode(list(span.tokens))
    if not text.strip():
        return None
    offset = window.start / RATE
    return Segment(
        start=round(offset + span.start, 2),
        end=round(offset + span.end, 2),
        text=text,
        tokens=span.tokens,
        seek=window.start * 100 // RATE,
        temperature=result.temperature,
        avg_logprob=result.avg_logprob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
    )
