"""One pass of the model over a batch of windows, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage, get_suppressed_tokens

from fleet_server.engines.ctranslate2 import pieces
from fleet_server.engines.ctranslate2.guards import LADDER, Answer, best, compression_ratio
from fleet_server.engines.ctranslate2.job import Job
from fleet_server.engines.ctranslate2.line import Batch, Outcome
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE
from fleet_server.engines.ctranslate2.windows import Window
from fleet_server.engines.ctranslate2.words import align
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
        encoded = self._encode([_samples(job, window) for job, window in batch])
        languages = self._languages(batch, encoded)
        if batch[0][1].refused is not None:
            answers = [self._climb(*batch[0], languages[0], encoded)]
        else:
            answers = self._generate(batch, languages, encoded, batch[0][0].temperature)
        return [
            self._outcome(job, window, language, answer, encoded)
            for (job, window), language, answer in zip(batch, languages, answers, strict=True)
        ]

    def warm(self, audio: Float32) -> None:
        """A few tokens for `audio`, not filled up to 30 seconds. Raises what CTranslate2 raises."""
        encoded = self._encode([audio])
        prompt = self._model.get_prompt(self._tokenizer("transcribe", "en")[0], [])
        length = len(prompt) + WARM_TOKENS
        self._model.model.generate(encoded, [prompt], max_length=length, beam_size=BEAM_SIZE)

    def _encode(self, samples: list[Float32]) -> Any:
        extractor = self._model.feature_extractor
        features = [extractor(piece, padding=0)[:, : extractor.nb_max_frames] for piece in samples]
        return self._model.model.encode(get_ctranslate2_storage(np.stack(features)))

    def _languages(self, batch: Batch, encoded: Any) -> list[str]:
        """A job's first window decides its language."""
        known = {id(job): job.language for job, _ in batch}
        if None in known.values():
            for (job, _), found in zip(
                batch, self._model.model.detect_language(encoded), strict=True
            ):
                if known[id(job)] is None:
                    known[id(job)] = found[0][0].strip("<|>")
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

    def _climb(self, job: Job, window: Window, language: str, encoded: Any) -> Answer:
        """Try higher temperatures until an answer is trusted."""
        tried = [window.refused] if window.refused is not None else []
        for temperature in LADDER[1:]:
            if job.gone:
                break
            answer = self._generate([(job, window)], [language], encoded, temperature)[0]
            if not answer.is_doubtful:
                return answer
            tried.append(answer)
        return best(tried)

    def _outcome(
        self, job: Job, window: Window, language: str, answer: Answer, encoded: Any
    ) -> Outcome:
        if answer.is_silence:
            return Outcome(language)
        if answer.is_doubtful and window.refused is None and job.options.temperature is None:
            return Outcome(language, again=replace(window, refused=answer))
        tokenizer, _ = self._tokenizer(job.options.task, language)
        cut_short = len(answer.tokens) >= MAX_LENGTH // 2 - 1
        found = pieces.split(
            answer.tokens, tokenizer.timestamp_begin, window.seconds, cut_short=cut_short
        )
        segments = [
            segment
            for piece in found
            if (segment := _segment(piece, window, answer, tokenizer)) is not None
        ]
        rest = window.rest(found[-1].end) if segments else None
        if job.options.word_timestamps and segments:
            segments = align(self._model, tokenizer, encoded, segments, window)
        return Outcome(language, segments, rest)

    def _tokenizer(self, task: str, language: str) -> tuple[Tokenizer, Sequence[int]]:
        key = (task, language)
        if key not in self._tokenizers:
            made = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual,
                task=task, language=language,
            )  # fmt: skip
            self._tokenizers[key] = (made, get_suppressed_tokens(made, [-1]) or ())
        return self._tokenizers[key]


def _samples(job: Job, window: Window) -> Float32:
    """The window filled up with silence to 30 seconds, as the model was trained."""
    audio = np.asarray(job.audio[window.start : window.end], dtype=np.float32)
    return np.pad(audio, (0, LONGEST - len(audio)))


def _segment(
    piece: pieces.Piece, window: Window, answer: Answer, tokenizer: Tokenizer
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
