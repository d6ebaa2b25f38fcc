"""Samples the next token of each sequence of a batch.

Penalties are OpenAI's (platform.openai.com/docs/advanced-usage): a token that was generated `n`
times loses `presence + n * frequency`. Tokens are drawn by adding noise to the logits (the
Gumbel-max method). A sequence with a seed has a generator of its own, so that its text does not
depend on the other sequences of the batch, and on rounding only where the two best tokens are equal
but for rounding.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import torch

from fleet_server.engines.guided.masks import Masks
from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.protocols import Sampling, TokenLogprobs

logger = logging.getLogger(__name__)

COLDEST = 1e-5
"""Sampling with a lower temperature is greedy."""


class Sampler:
    """The sampling options of one sequence, and the tokens it has generated."""

    def __init__(
        self,
        sampling: Sampling,
        shared: torch.Generator,
        prompt: Sequence[int] = (),
        limit: ReasoningLimit | None = None,
    ) -> None:
        """`shared` is the generator of sequences without a seed. The repetition penalty is for the
        tokens of `prompt` too. `limit` bounds the reasoning."""
        self.greedy = sampling.temperature < COLDEST
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self.top_k = sampling.top_k
        self.min_p = sampling.min_p
        self._number = sampling.logprobs
        self._found: TokenLogprobs | None = None
        self._bias = sampling.logit_bias
        self._repetition = sampling.repetition_penalty
        self._prompt = frozenset(prompt) if sampling.repetition_penalty != 1 else frozenset()
        self._presence = sampling.presence_penalty
        self._frequency = sampling.frequency_penalty
        self._seen: Counter[int] = Counter()
        self._limit = limit
        self._masks: Masks | None = sampling.grammar and sampling.grammar.start()
        self.generator: torch.Generator | None = None
        """Of a sequence with a seed."""
        self.shared = shared
        self._failed: Exception | None = None
        if sampling.seed is not None:
            self.generator = torch.Generator(shared.device)
            self.generator.manual_seed(sampling.seed)

    def saw(self, token: int) -> None:
        self._seen[token] += 1
        if self._masks is not None:
            self._masks.accept((token,))
        if self._limit is not None:
            self._limit.accept((token,))

    @property
    def is_guided(self) -> bool:
        """Whether the text follows a grammar."""
        return self._masks is not None

    @property
    def error(self) -> Exception | None:
        """Why no token can be chosen any more, such as a grammar that cannot be followed."""
        return self._failed or (None if self._masks is None else self._masks.error)

    def prepare(self, logits: torch.Tensor, guided: int) -> None:
        """Apply all options that change `logits`, float32 `[vocabulary]`, in place. `guided` is the
        number of guided sequences in the batch.

        Options that cannot be applied are an `error` of this sequence alone.
        """
        try:
            self.penalise(logits)
            self.guide(logits, guided)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            logger.exception("the sampling options of a sequence failed")
            self._failed = error

    def guide(self, logits: torch.Tensor, guided: int) -> None:
        """Set the logits of tokens that the grammar does not allow, or that do not end reasoning
        which has reached its bound, to minus infinity, in place."""
        if self._limit is not None and (forced := self._limit.forced) is not None:
            logits.fill_(-torch.inf)
            logits[forced] = 0.0
            return
        if self._masks is None:
            return
        values = logits.cpu().numpy()
        self._masks.apply(values, guided)
        logits.copy_(torch.from_numpy(values))

    @property
    def is_narrow(self) -> bool:
        """Whether some tokens are never drawn."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    @property
    def wants_logprobs(self) -> bool:
        return self._number is not None

    def record(self, logits: torch.Tensor, token: int) -> None:
        """Keep the logarithmic probabilities at a place where `token` was chosen, for `taken`;
        `logits` are the model's, float32 `[vocabulary]`."""
        self._found = logprobs_of(logits, token, self._number or 0)

    def taken(self) -> tuple[TokenLogprobs, ...]:
        """The logarithmic probabilities of the last token, if the request wants them."""
        found, self._found = self._found, None
        return () if found is None else (found,)

    def penalise(self, logits: torch.Tensor) -> None:
        """Apply penalties and bias to `logits`, float32 `[vocabulary]`, in place."""
        if self._repetition != 1:
            ids = torch.tensor([*(self._prompt | self._seen.keys())], device=logits.device)
            values = logits[ids]
            logits[ids] = torch.where(
                values > 0, values / self._repetition, values * self._repetition
            )
        if self._seen and (self._presence != 0 or self._frequency != 0):
            ids = torch.tensor(list(self._seen), device=logits.device)
            counts = torch.tensor(
                list(self._seen.values()), dtype=logits.dtype, device=logits.device
            )
            logits.index_add_(0, ids, -(self._presence + self._frequency * counts))
        for token, bias in self._bias.items():
            logits[token] += bias


def sample(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int | None]:
    """One token for each row of `logits` `[len(samplers), vocabulary]`; None for a row whose logits
    are not finite."""
    plain = logits.to(torch.float32)
    logits = plain.to(torch.float32, copy=True)
    guided = sum(sampler.is_guided for sampler in samplers)
    for row, sampler in zip(logits, samplers, strict=True):
        sampler.prepare(row, guided)
    best = logits.max(dim=-1)
    tokens = best.indices
    for narrow in (False, True):
        rows = [
            row for row, sampler in enumerate(samplers)
            if not sampler.greedy and sampler.is_narrow is narrow
        ]  # fmt: skip
        if rows:
            tokens[rows] = _draw(logits[rows], [samplers[row] for row in rows], narrow=narrow)
    usable = best.values.isfinite().tolist()
    chosen = [token if fine else None for token, fine in zip(tokens.tolist(), usable, strict=True)]
    for row, sampler, token in zip(plain, samplers, chosen, strict=True):
        if sampler.wants_logprobs and token is not None:
            sampler.record(row, token)
    return chosen


def logprobs_of(logits: torch.Tensor, token: int, number: int) -> TokenLogprobs:
    """The logarithmic probabilities of `token` and of the `number` most probable tokens."""
    values = torch.log_softmax(logits, dim=-1)
    best = values.topk(min(number, len(values)))
    top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return TokenLogprobs(token, float(values[token]), top)


def _draw(logits: torch.Tensor, samplers: Sequence[Sampler], *, narrow: bool) -> torch.Tensor:
    """Tokens `[rows]`; `narrow` applies `top_k`, `top_p` and `min_p`."""
    scores = logits / _column([sampler.temperature for sampler in samplers], logits)
    if narrow:
        scores = _narrowed(scores, samplers)
    return (scores + _noise(scores, samplers)).argmax(dim=-1)


def _narrowed(scores: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """The scores, those of tokens that may not be drawn minus infinity."""
    ordered, order = scores.sort(dim=-1, descending=True)
    size = scores.shape[-1]
    places = torch.arange(size, device=scores.device)
    most = _column([sampler.top_k or size for sampler in samplers], scores)
    ordered = ordered.masked_fill(places >= most, -torch.inf)
    probabilities = torch.softmax(ordered, dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    mass = _column([sampler.top_p for sampler in samplers], scores)
    least = _column([sampler.min_p for sampler in samplers], scores) * probabilities[:, :1]
    # Without a bound, rounding of the sum must exclude none.
    dropped = ((before >= mass) & (mass < 1)) | (probabilities < least)
    return scores.scatter(-1, order, ordered.masked_fill(dropped, -torch.inf))


def _noise(like: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """Gumbel noise: the negative logarithm of exponential noise, of each row's own generator."""
    noise = torch.empty_like(like)
    if any(sampler.generator is None for sampler in samplers):
        noise.exponential_(generator=samplers[0].shared)
    for row, sampler in zip(noise, samplers, strict=True):
        if sampler.generator is not None:
            row.exponential_(generator=sampler.generator)
    return -noise.clamp_min_(torch.finfo(noise.dtype).tiny).log_()


def _column(values: list[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).unsqueeze(1)
