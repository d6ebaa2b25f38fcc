"""A text whose reasoning is bounded: where vLLM's generation is cut, and how the text goes on.

vLLM has bounds of its own (`thinking_token_budget`), for marks that are fixed at the start, are
written with the same tokens each time, and may be anywhere in the text. Here a generation that has
reached the bound ends, and another one begins after the closing mark; it finds the tokens before in
the prefix cache.
"""

from __future__ import annotations

from dataclasses import replace

from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.protocols import Finish, Sampling, Step


class BoundedText:
    """Not thread-safe. `ids` are the tokens so far; `ended`: there will be no more.

    Each generation is a part of the text: that of the next token if one is `forced`, else of what
    follows until `cut`.
    """

    def __init__(self, sampling: Sampling, limit: ReasoningLimit) -> None:
        self.ids: list[int] = []
        self.ended = False
        self._sampling = sampling
        self._limit = limit

    @property
    def forced(self) -> int | None:
        """The only token that may come next; None if any may."""
        return self._limit.forced

    @property
    def left(self) -> int:
        """How many tokens the text may still have."""
        return self._sampling.max_tokens - len(self.ids)

    def part(self) -> Sampling:
        """The options of the next part. Its presence and frequency penalties are for its own tokens
        only: for vLLM the others are a part of the prompt."""
        if not self.ids:
            return self._sampling
        seed = self._sampling.seed
        return replace(
            self._sampling,
            max_tokens=self.left,
            # A part with the same seed would draw the same random numbers again.
            seed=None if seed is None else seed + 1,
            prompt_logprobs=False,
        )

    def close(self) -> Step:
        """The forced tokens, without a generation."""
        before = len(self.ids)
        while self.left and (token := self.forced) is not None:
            self._accept(token)
        return self._checked(Step(self.ids[before:]))

    def take(self, step: Step, forced: int | None = None) -> Step:
        """What remains of a part's step. `forced` is the token that the part consists of."""
        before = len(self.ids)
        for token in step.token_ids:
            # Also if it is the forced one: where a part ends does not depend on the steps.
            if self.forced != forced:
                break
            self._accept(token)
        kept = len(self.ids) - before
        step = replace(
            step,
            token_ids=step.token_ids[:kept],
            logprobs=step.logprobs[:kept],
            cached_tokens=None if before else step.cached_tokens,
        )
        if step.error is None and (self.forced is not None or forced is not None):
            step = replace(step, finish=None)
        return self._checked(step)

    def _accept(self, token: int) -> None:
        self._limit.accept([token])
        self.ids.append(token)

    def _checked(self, step: Step) -> Step:
        if step.finish is None and step.error is None and self.left <= 0:
            step = replace(step, finish=Finish.LENGTH)
        self.ended = step.finish is not None or step.error is not None
        return step
