"""Samples the next token of each sequence of a batch.

Penalties are OpenAI's (platform.openai.com/docs/advanced-usage): a token that was generated `n`
times loses `presence + n * frequency`. Each draw takes one uniform number from the generator of its
sequence, so that the text does not depend on the other sequences of the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from fleet_server.engines.guided.masks import Masks
from fleet_server.protocols import Sampling

COLDEST = 1e-5
"""Sampling with a lower temperature is greedy."""


class Sampler:
    """The sampling options of one sequence, and the tokens it has generated."""

    def __init__(self, sampling: Sampling, shared: torch.Generator) -> None:
        self.greedy = sampling.temperature < COLDEST
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self._presence = sampling.presence_penalty
        self._frequency = sampling.frequency_penalty
        self._seen: Counter[int] = Counter()
        self._masks: Masks | None = sampling.grammar and sampling.grammar.start()
        self._generator = shared
        if sampling.seed is not None:
            self._generator = torch.Generator()
            self._generator.manual_seed(sampling.seed)

    def saw(self, token: int) -> None:
        self._seen[token] += 1
        if self._masks is not None:
            self._masks.accept((token,))

    @property
    def is_guided(self) -> bool:
        """Whether the text follows a grammar."""
        return self._masks is not None

    @property
    def error(self) -> Exception | None:
        """Why the grammar cannot be followed any more."""
        return None if self._masks is None else self._masks.error

    def guide(self, logits: torch.Tensor, guided: int) -> None:
        """Set the logits of tokens that the grammar does not allow to minus infinity, in place.
        `guided` is the number of guided sequences in the batch."""
        if self._masks is None:
            return
        values = logits.cpu().numpy()
        self._masks.apply(values, guided)
        logits.copy_(torch.from_numpy(values))

    def uniform(self) -> float:
        """The sequence's next random number in [0, 1)."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))

    def penalise(self, logits: torch.Tensor) -> None:
        """Apply the penalties to `logits`, float32 `[vocabulary]`, in place."""
        if not self._seen or (self._presence == 0 and self._frequency == 0):
            return
        ids = torch.tensor(list(self._seen), device=logits.device)
        counts = torch.tensor(list(self._seen.values()), dtype=logits.dtype, device=logits.device)
        logits.index_add_(0, ids, -(self._presence + self._frequency * counts))


def sample(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int | None]:
    """One token for each row of `logits` `[len(samplers), vocabulary]`; None for a row whose logits
    are not finite."""
    logits = logits.to(torch.float32, copy=True)
    guided = sum(sampler.is_guided for sampler in samplers)
    for row, sampler in zip(logits, samplers, strict=True):
        sampler.penalise(row)
        sampler.guide(row, guided)
    best = logits.max(dim=-1)
    tokens = best.indices
    for narrow in (False, True):
        rows = [
            row for row, sampler in enumerate(samplers)
            if not sampler.greedy and (sampler.top_p < 1) is narrow
        ]  # fmt: skip
        if rows:
            tokens[rows] = _draw(logits[rows], [samplers[row] for row in rows], narrow=narrow)
    usable = best.values.isfinite().tolist()
    return [token if fine else None for token, fine in zip(tokens.tolist(), usable, strict=True)]


def _draw(logits: torch.Tensor, samplers: Sequence[Sampler], *, narrow: bool) -> torch.Tensor:
    """Tokens `[rows]`, drawn by inverting the cumulative probability; `narrow` applies `top_p`."""

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=logits.device).unsqueeze(1)

    temperatures = column([sampler.temperature for sampler in samplers])
    probabilities = torch.softmax(logits / temperatures, dim=-1)
    order = None
    if narrow:
        probabilities, order = probabilities.sort(dim=-1, descending=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        limits = column([sampler.top_p for sampler in samplers])
        probabilities = torch.where(before < limits, probabilities, 0.0)
    mass = probabilities.cumsum(dim=-1)
    targets = column([sampler.uniform() for sampler in samplers]) * mass[:, -1:]
    index = torch.searchsorted(mass, targets, right=True)
    # Rounding may place the target after the last token with a probability above 0.
    last = (probabilities > 0).long().mul(_places(probabilities)).amax(dim=-1, keepdim=True)
    index = torch.minimum(index, last)
    return (index if order is None else order.gather(-1, index)).squeeze(1)


def _places(like: torch.Tensor) -> torch.Tensor:
    return torch.arange(like.shape[-1], device=like.device)
