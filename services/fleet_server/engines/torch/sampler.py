"""Chooses the next token of each answer from the logits; called by the step loop.

Penalties are OpenAI's: `presence` off a token that the answer holds, `frequency` off it once for
each time (platform.openai.com/docs/advanced-usage). A draw takes one uniform number per token from
the answer's own generator, so its text does not depend on who else is in the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from fleet_server.protocols import Sampling

COLDEST = 1e-5
"""A temperature below it is greedy."""


class Chooser:
    """How one answer's tokens are chosen, and those chosen so far."""

    def __init__(self, sampling: Sampling, shared: torch.Generator) -> None:
        self.greedy = sampling.temperature < COLDEST
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self._presence = sampling.presence_penalty
        self._frequency = sampling.frequency_penalty
        self._seen: Counter[int] = Counter()
        self._generator = shared
        if sampling.seed is not None:
            self._generator = torch.Generator()
            self._generator.manual_seed(sampling.seed)

    def saw(self, token: int) -> None:
        self._seen[token] += 1

    def uniform(self) -> float:
        """The next number in [0, 1) of this answer."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))

    def penalise(self, logits: torch.Tensor) -> None:
        """Lower `logits`, float32 `[vocabulary]`, in place."""
        if not self._seen or (self._presence == 0 and self._frequency == 0):
            return
        ids = torch.tensor(list(self._seen), device=logits.device)
        counts = torch.tensor(list(self._seen.values()), dtype=logits.dtype, device=logits.device)
        logits.index_add_(0, ids, -(self._presence + self._frequency * counts))


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[int | None]:
    """One token for each row of `logits`, `[len(choosers), vocabulary]`.

    None where the logits of a row are not finite.
    """
    logits = logits.to(torch.float32, copy=True)
    for row, chooser in zip(logits, choosers, strict=True):
        chooser.penalise(row)
    best = logits.max(dim=-1)
    tokens = best.indices
    for narrow in (False, True):
        rows = [
            row for row, chooser in enumerate(choosers)
            if not chooser.greedy and (chooser.top_p < 1) is narrow
        ]  # fmt: skip
        if rows:
            tokens[rows] = _draw(logits[rows], [choosers[row] for row in rows], narrow=narrow)
    usable = best.values.isfinite().tolist()
    return [token if fine else None for token, fine in zip(tokens.tolist(), usable, strict=True)]


def _draw(logits: torch.Tensor, choosers: Sequence[Chooser], *, narrow: bool) -> torch.Tensor:
    """Tokens `[rows]` drawn by inverting the cumulative probability; `narrow` cuts to `top_p`."""

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=logits.device).unsqueeze(1)

    temperatures = column([chooser.temperature for chooser in choosers])
    probabilities = torch.softmax(logits / temperatures, dim=-1)
    order = None
    if narrow:
        probabilities, order = probabilities.sort(dim=-1, descending=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        limits = column([chooser.top_p for chooser in choosers])
        probabilities = torch.where(before < limits, probabilities, 0.0)
    mass = probabilities.cumsum(dim=-1)
    targets = column([chooser.uniform() for chooser in choosers]) * mass[:, -1:]
    index = torch.searchsorted(mass, targets, right=True)
    # Rounding may place the target at the very end, behind the last token with a probability.
    last = (probabilities > 0).long().mul(_places(probabilities)).amax(dim=-1, keepdim=True)
    index = torch.minimum(index, last)
    return (index if order is None else order.gather(-1, index)).squeeze(1)


def _places(like: torch.Tensor) -> torch.Tensor:
    return torch.arange(like.shape[-1], device=like.device)
