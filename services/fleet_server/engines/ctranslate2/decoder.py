"""One pass of the model over a batch of windows, and what comes out of it."""

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
from fleet_server.engines.ctranslate2.fallback import Answer, Attempt, compression_ratio
from fleet_server.engines.ctranslate2.recording import Job
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE
from fleet_server.engines.ctranslate2.window_queue import Batch, Outcome
from fleet_server.engines.ctranslate2.windows import SHORT_FILLED, Window
from fleet_server.engines.ctranslate2.words import Heard, align
from fleet_server.protocols import Float32, Segment

BEAM_SIZE = 5
BEST_OF = 5
MAX_LENGTH = 448
"""Positions of Whisper's decoder; half of them at most are new tokens."""
WARM_TOKENS = 8
MAX_PROMPT = MAX_LENGTH // 2 - 1


class Decoder:
    """Safe to call from several threads: CTranslate2 gives each its own worker."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model
        # On a CPU a pass of the encoder fills all cores with one window, and the attention of
        # several takes more memory than the caches hold: 8 together take half as long again.
        # Outputs in half precision have no numpy type that CTranslate2 takes back.
        self._encodes_apart = (
            model.model.device == "cpu" and "float16" not in model.model.compute_type
        )
        self._tokenizers: dict[tuple[str, str], tuple[Tokenizer, Sequence[int]]] = {}

    def prompt_tokens(self, text: str | None) -> tuple[int, ...]:
        """The end of a client's prompt; special tokens spelled out in it are left out."""
        if not text or not text.strip():
            return ()
        tokenizer, _ = self._tokenizer("transcribe", "en")
        ids = tokenizer.encode(" " + text.strip())
        return tuple(token for token in ids if token < tokenizer.eot)[-MAX_PROMPT:]

    def run(self, batch: Batch) -> list[Outcome]:
        """Decode the windows together. Raises what CTranslate2 raises."""
        attempt = batch[0][0].attempt(batch[0][1])
        encoded = self._encode([_samples(job, window, attempt) for job, window in batch])
        languages = self._languages(batch, encoded)
        answers = self._generate(batch, languages, encoded, attempt.temperature)
        heard: list[Heard | None] = []
        outcomes: list[Outcome] = []
        for (job, window), language, answer in zip(batch, languages, answers, strict=True):
            segments, again = self._read(job, window, language, answer)
            heard.append((segments, window) if segments else None)
            outcomes.append(Outcome(language, segments, again))
        if batch[0][0].options.word_timestamps:
            return self._with_words(batch, encoded, heard, outcomes)
        return outcomes

    def warm(self, audio: Float32) -> None:
        """A few tokens for `audio`, not filled up to 30 seconds. Raises what CTranslate2 raises."""
        encoded = self._encode([audio])
        prompt = self._model.get_prompt(self._tokenizer("transcribe", "en")[0], [])
        length = len(prompt) + WARM_TOKENS
        self._model.model.generate(encoded, [prompt], max_length=length, beam_size=BEAM_SIZE)

    def _encode(self, samples: list[Float32]) -> Any:
        extractor, model = self._model.feature_extractor, self._model.model
        features = [extractor(piece, padding=0)[:, : extractor.nb_max_frames] for piece in samples]
        if len(features) == 1 or not self._encodes_apart:
            return model.encode(get_ctranslate2_storage(np.stack(features)))
        rows = [np.array(model.encode(get_ctranslate2_storage(one[None]))) for one in features]
        return get_ctranslate2_storage(np.concatenate(rows))

    def _languages(self, batch: Batch, encoded: Any) -> list[str]:
        """The language of each window's job; the likeliest over a job's windows decides."""
        known = {id(job): job.language for job, _ in batch}
        if None in known.values():
            likely: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
            found = self._model.model.detect_language(encoded)
            for (job, _), probabilities in zip(batch, found, strict=True):
                for token, probability in probabilities:
                    likely[id(job)][token] += probability
            for job, _ in batch:
                if known[id(job)] is None:
                    tokens = likely[id(job)]
                    known[id(job)] = max(tokens, key=tokens.__getitem__).strip("<|>")
        return [known[id(job)] or "en" for job, _ in batch]

    def _generate(
        self, batch: Batch, languages: list[str], encoded: Any, temperature: float
    ) -> list[Answer]:
        prompts, suppressed = [], None
        for (job, _), language in zip(batch, languages, strict=True):
            tokenizer, suppressed = self._tokenizer(job.options.task, language)
            prompts.append(self._model.get_prompt(tokenizer, list(job.prompt)))
        if temperature > 0:
            search = {
                "beam_size": 1, "num_hypotheses": BEST_OF, "sampling_topk": 0,
                "sampling_temperature": temperature,
            }  # fmt: skip
        else:
            search = {"beam_size": BEAM_SIZE, "patience": 1}
        results = self._model.model.generate(
            encoded, prompts, max_length=MAX_LENGTH, suppress_blank=True,
            suppress_tokens=suppressed, max_initial_timestamp_index=50,
            return_scores=True, return_no_speech_prob=True, **search,
        )  # fmt: skip
        return [self._answer(result, temperature) for result in results]

    def _answer(self, result: Any, temperature: float) -> Answer:
        tokens = tuple(result.sequences_ids[0])
        tokenizer, _ = self._tokenizer("transcribe", "en")
        return Answer(
            tokens=tokens,
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=result.no_speech_prob,
            compression_ratio=compression_ratio(tokenizer.decode(list(tokens)).strip()),
            temperature=temperature,
        )

    def _read(
        self, job: Job, window: Window, language: str, answer: Answer
    ) -> tuple[list[Segment], Window | None]:
        """The segments of an answer, and the window that has to be decoded next, if any."""
        if answer.is_silence:
            # Short padding raises the probability of no speech, most of all in translations.
            return [], None if job.attempt(window).filled else window.again(answer)
        if answer.is_doubtful:
            if job.can_retry(window):
                return [], window.again(answer)
            if window.is_tail and job.options.temperature is None:
                return [], None
            answer = window.best(answer)
        tokenizer, _ = self._tokenizer(job.options.task, language)
        cut_short = len(answer.tokens) >= MAX_LENGTH // 2 - 1
        found = timestamps.split(
            answer.tokens, tokenizer.timestamp_begin, window.seconds, cut_short=cut_short
        )
        segments = [
            segment
            for piece in found
            if (segment := _segment(piece, window, answer, tokenizer)) is not None
        ]
        return segments, window.rest(found[-1].end) if segments else None

    def _with_words(
        self,
        batch: Batch,
        encoded: Any,
        heard: Sequence[Heard | None],
        outcomes: Sequence[Outcome],
    ) -> list[Outcome]:
        """The outcomes with the words of their segments, aligned together in each language."""
        spoken = [
            (job.options.task, outcome.language)
            for (job, _), outcome in zip(batch, outcomes, strict=True)
        ]
        result = list(outcomes)
        for kind in dict.fromkeys(spoken):
            chosen = [entry if own == kind else None
                      for entry, own in zip(heard, spoken, strict=True)]  # fmt: skip
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


def _samples(job: Job, window: Window, attempt: Attempt) -> Float32:
    """The window padded with silence to a length that depends on no other window of its pass."""
    audio = np.asarray(job.audio[window.start : window.end], dtype=np.float32)
    return np.pad(audio, (0, (LONGEST if attempt.filled else SHORT_FILLED) - len(audio)))


def _segment(
    piece: timestamps.Piece, window: Window, answer: Answer, tokenizer: Tokenizer
) -> Segment | None:
    text = tokenizer.decode(list(piece.tokens))
    if not text.strip():
        return None
    offset = window.start / RATE
    return Segment(
        start=round(offset + piece.start, 2),
        end=round(offset + piece.end, 2),
        text=text,
        tokens=piece.tokens,
        seek=window.start * 100 // RATE,
        temperature=answer.temperature,
        avg_logprob=answer.avg_logprob,
        compression_ratio=answer.compression_ratio,
        no_speech_prob=answer.no_speech_prob,
    )
