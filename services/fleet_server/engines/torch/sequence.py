"""The state of one sequence in the torch engine, from its prompt to its last token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fleet_server.engines.torch.conversation import ChatInput
from fleet_server.engines.torch.sampler import Sampler, logprobs_of
from fleet_server.protocols import Finish, Sampling, Step, TokenLogprobs

Emit = Callable[[Step], None]

logger = logging.getLogger(__name__)


class Sequence:
    """A Generation (fleet_server.protocols); only `cancel` may be called from other threads.

    `filled` counts the prefilled prompt tokens, `position` is that of the next token.
    """

    def __init__(
        self,
        given: ChatInput,
        sampling: Sampling,
        sampler: Sampler,
        emit: Emit,
        caller: str = "",
    ) -> None:
        self.caller = caller
        self.token_ids = given.token_ids
        self.pixels = given.pixels
        self.has_images = bool(given.pixels)
        self.sampler = sampler
        self.cancelled = False
        self.ended = False
        self.filled = 0
        self.position = 0
        self.cache: Any = None
        self.last_token = 0
        self.scores_prompt = sampling.prompt_logprobs
        self._scores: list[TokenLogprobs] = []
        self._number = sampling.logprobs or 0
        self._left = sampling.max_tokens
        self._emit = emit

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def over(self) -> bool:
        """Whether the sequence has ended or was cancelled."""
        return self.ended or self.cancelled

    @property
    def most_tokens(self) -> int:
        """Maximum number of tokens of prompt and generated text together."""
        return len(self.token_ids) + self._left

    def take(self, token: int | None, stop_ids: frozenset[int]) -> None:
        """Emit the next token; None is a token that could not be computed."""
        if self.sampler.error is not None:
            self.fail(self.sampler.error)
        elif token is None:
            self.fail(ArithmeticError("the model's logits are not finite"))
        elif token in stop_ids:
            self._send(Step((), Finish.STOP))
        else:
            self.last_token = token
            self.sampler.saw(token)
            self._left -= 1
            finish = Finish.LENGTH if self._left == 0 else None
            scores, self._scores = self._scores, []
            self._send(
                Step((token,), finish, logprobs=self.sampler.taken(), prompt_logprobs=scores)
            )

    def score(self, logits: Any, begin: int) -> None:
        """Score the tokens of the prompt that follow those from `begin`, whose `logits` `[tokens,
        vocabulary]` are given."""
        following = self.token_ids[begin + 1 : begin + 1 + len(logits)]
        for row, token in zip(logits, following, strict=False):
            self._scores.append(logprobs_of(row.float(), token, self._number))

    def fail(self, error: Exception) -> None:
        """End the sequence with an error."""
        self._send(Step((), error=error))

    def release(self) -> None:
        """Drop the references to large tensors."""
        self.cache = None
        self.pixels = {}

    def _send(self, step: Step) -> None:
        if self.over:
            return
        self.ended = step.finish is not None or step.error is not None
        try:
            self._emit(step)
        except Exception:
            logger.exception("the receiver of a sequence failed")
            self.cancelled = True
