"""Chooses the tokens of one sequence from the model's logits.

A token is drawn by adding noise to the logits (the Gumbel-max method), from a generator of the
sequence's own: it depends on the seed and the place of the token, and on rounding only where the
two best tokens are equal but for rounding. Drawing by cumulative probabilities is not as robust:
the rounding of each token shifts all that follow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.sampling import probabilities
from fleet_server.engines.sampling.probabilities import Logits
from fleet_server.engines.sampling.wrapped_masks import WrappedMasks
from fleet_server.protocols import Sampling, TokenLogprobs


class TokenSampler(WrappedMasks):
    """Not thread-safe. `prompt` holds the tokens of the prompt, for the repetition penalty; `masks`
    are those of a grammar (fleet_server.engines.guided.masks)."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], masks: Any = None) -> None:
        super().__init__(masks)
        self._options = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._counts: Counter[int] = Counter()
        self._seen: NDArray[np.int64] | None = None
        if sampling.repetition_penalty != 1:
            self._seen = np.unique(np.asarray(prompt, dtype=np.int64))
        self._found: deque[TokenLogprobs] = deque()

    def apply(self, logits: Logits, sequences: int = 1) -> None:
        """Choose a token; the logits of all others become minus infinity. `sequences` is the number
        of guided sequences that share a step."""
        token = self._choose(logits, sequences)
        if self._options.logprobs is not None:
            self._found.append(probabilities.logprobs_of(logits, token, self._options.logprobs))
        self._counts[token] += 1
        logits[:] = -np.inf
        logits[token] = 0.0

    def taken(self, number: int) -> tuple[TokenLogprobs, ...]:
        """The logarithmic probabilities of the next `number` tokens that were chosen, if the
        request wants them."""
        return tuple(self._found.popleft() for _ in range(min(number, len(self._found))))

    def _choose(self, logits: Logits, sequences: int) -> int:
        options = self._options
        scores = np.array(logits, dtype=np.float32)
        self._penalise(scores)
        for token, bias in options.logit_bias.items():
            scores[token] += bias
        if self._masks is not None:
            self._masks.apply(scores, sequences)
        if options.temperature > 0:
            scores /= np.float32(options.temperature)
            probabilities.keep_top_k(scores, options.top_k)
            probabilities.keep_top_p(scores, options.top_p)
            probabilities.keep_min_p(scores, options.min_p)
            # Gumbel's distribution is that of the negative logarithm of exponential noise.
            noise = self._random.standard_exponential(len(scores), dtype=np.float32)
            # Single precision has zeros, whose logarithm would choose a token that is masked.
            scores -= np.log(np.maximum(noise, np.finfo(np.float32).tiny))
        return int(scores.argmax())

    def _penalise(self, scores: Logits) -> None:
        options = self._options
        if self._seen is not None:
            ids = np.union1d(self._seen, np.fromiter(self._counts, dtype=np.int64))
            values, penalty = scores[ids], np.float32(options.repetition_penalty)
            scores[ids] = np.where(values > 0, values / penalty, values * penalty)
        if self._counts and (options.presence_penalty or options.frequency_penalty):
            ids = np.fromiter(self._counts, dtype=np.int64)
            counts = np.fromiter(self._counts.values(), dtype=np.float32)
            scores[ids] -= options.presence_penalty + options.frequency_penalty * counts
