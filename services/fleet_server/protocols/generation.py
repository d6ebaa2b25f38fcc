"""A generation: its prompt, how its tokens are chosen, and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Finish(StrEnum):
    """OpenAI's `finish_reason`."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    """Of a message with tool calls; engines do not use it."""


@dataclass(frozen=True, slots=True)
class ReasoningBudget:
    """A bound on the reasoning at the beginning of a text: after `tokens` tokens of it, the closing
    mark follows. `open` and `close` are the marks; `is_open`: the prompt ends with the opening one.

    With `blocks` the reasoning may have several blocks, anywhere in the text, which have the tokens
    together. The first of the texts in `blocks` ends the block in which they are used up, the next
    ones those after it, and the last one all others.
    """

    tokens: int
    open: str
    close: str
    is_open: bool = False
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    `temperature` 0 is greedy. `seed` makes a request repeatable: exactly in float32; in other
    formats rounding depends on the batch. `grammar` is what the model's `compile` returned; the
    text follows it. The presence and frequency penalties are for tokens that were generated, the
    repetition penalty also for those of the prompt. `top_k` 0 keeps all tokens, `min_p` those with
    at least this share of the greatest probability. `logit_bias` is added to the logits of tokens.

    With `logprobs` each token has its logarithmic probability, and so have that many of the most
    probable tokens, in Step; with `prompt_logprobs` so have the tokens of the prompt.

    `adapter` is the name of the LoRA adapter to apply, one of the model's `adapters`. `reasoning`
    bounds the reasoning.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    grammar: Any = None
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    prompt_logprobs: bool = False
    adapter: str | None = None
    reasoning: ReasoningBudget | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for the engine.

    `num_tokens` is the number in the usage, image tokens included; `state` is private to the
    engine. `tail` holds the prompt's last tokens if the generated text continues it: some
    vocabularies decode the space before a word only after another word. `ending` is the end of the
    text that the chat template gave, `token_ids` its tokens, None for a prompt with images.
    """

    num_tokens: int
    state: Any
    tail: Sequence[int] = ()
    ending: str = ""
    token_ids: Sequence[int] | NDArray[np.int64] | None = None


ENDING_CHARS = 64
"""Length of `Prompt.ending`: longer than any mark that opens a block of reasoning."""


@dataclass(frozen=True, slots=True)
class NoReasoning:
    """The marks of a block of reasoning that the prompt ends: the one that the template has opened
    or, with `always`, an empty one."""

    open: str
    close: str
    always: bool = False


@dataclass(frozen=True, slots=True)
class TemplateArguments:
    """What a chat template gets besides the messages: `tools` as in a request of OpenAI's chat
    completions, and `variables` by name.

    With `continues` the prompt ends with the text of the last message, which the model continues;
    otherwise with the beginning of its turn, unless `generation_prompt` is false. `no_reasoning`:
    the turn begins with the answer.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = False
    generation_prompt: bool = True
    no_reasoning: NoReasoning | None = None

    @property
    def begins_turn(self) -> bool:
        """Whether the prompt ends with the beginning of the model's turn."""
        return self.generation_prompt and not self.continues


NO_ARGUMENTS = TemplateArguments()


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of complete characters, without special tokens, and the number of its tokens."""

    text: str
    num_tokens: int


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The natural logarithm of a token's probability, and those of the most probable tokens at its
    place, the most probable first. They are the model's own: before penalties, bias, temperature
    and masks. `piece` holds the token's bytes if they are not those in the vocabulary."""

    token_id: int
    logprob: float
    top: Sequence[tuple[int, float]] = ()
    piece: bytes | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """New tokens of one request; `finish` is set on the last step.

    `token_ids` do not include the token that ends a generation (end of turn). `error` ends the
    generation with a failure. An engine with `emits_text` sets `delta` instead of `token_ids`.
    `logprobs` has an entry for each of these tokens if the request wants them.

    Set on one of the steps, usually the first: `cached_tokens`, how many tokens of the prompt were
    in a cache; and `prompt_logprobs`, if wanted, of the tokens of the prompt but the first one.
    """

    token_ids: Sequence[int]
    finish: Finish | None = None
    error: Exception | None = None
    delta: Delta | None = None
    logprobs: Sequence[TokenLogprobs] = ()
    cached_tokens: int | None = None
    prompt_logprobs: Sequence[TokenLogprobs] = ()


class Generation(Protocol):
    """A running generation."""

    def cancel(self) -> None:
        """Stop soon and free the slot. Idempotent and non-blocking; `emit` need not be called."""
