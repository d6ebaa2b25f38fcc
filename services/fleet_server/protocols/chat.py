"""The protocols of models that generate text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from fleet_server.protocols.formats import OutputFormat
from fleet_server.protocols.generation import (
    NO_ARGUMENTS,
    Generation,
    Prompt,
    Sampling,
    Step,
    TemplateArguments,
)

Message = dict[str, Any]
"""`{"role": str, "content": str | list[part]}`; a part is `{"type": "text", "text": str}` or
`{"type": "image"}`, the n-th of which represents the n-th of `images`. For a TemplatedModel there
are also messages of the role `tool` and the fields `tool_calls`, `tool_call_id`, `name` and
`reasoning_content`, all as in chat completions, except that the arguments of calls are objects."""


class Vocabulary(Protocol):
    """A model's tokenizer, for /tokenize and /detokenize; the optional member `vocabulary` of a
    model."""

    size: int

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        """Token ids; `add_special` adds the special tokens around a text. With `parse_special`
        special tokens in the text itself are parsed, otherwise they are text."""

    def encode_parts(
        self, parts: Sequence[str], add_special: bool, parse_special: bool = True
    ) -> list[int]:
        """As `encode`, for a text whose parts, possibly thousands, are tokenised one by one. A
        handler's vocabulary may lack it."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens included. The ids are in `range(size)`."""

    def piece(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token, possibly part of a character."""


@runtime_checkable
class ChatModel(Protocol):
    """Generates the next turn of a conversation.

    Optional members: `emits_text: bool`, whether steps have text instead of token ids (default
    False); `decode` may then block. `most_pixels: int`, to which larger images are reduced before
    `prompt`. `adapters: Collection[str]`, the names of the LoRA adapters
    that it has loaded. If the spec has adapters, the constructor gets their files too, as
    `adapters: Mapping[str, Path]`, folders or single files by name.
    """

    context_length: int
    """Maximum number of tokens of prompt and generated text together."""
    max_concurrent: int
    """Maximum number of generations at once; the HTTP layer never submits more."""
    supports: frozenset[str]
    """Optional parameters it supports: `seed`, `presence_penalty`, `frequency_penalty`,
    `repetition_penalty`, `top_k`, `min_p`, `logit_bias`, `logprobs`, `prompt_logprobs`,
    `reasoning_budget`, `reasoning_blocks` (a ReasoningBudget with blocks), `response_format` and
    `json_schema` (GuidedModel), `tools` (TemplatedModel). Temperature, top_p, max_tokens and stop
    are always supported, and so is `n`: each choice is a generation of its own."""

    def prompt(self, messages: Sequence[Message], images: Sequence[Any]) -> Prompt:
        """Apply the chat template and tokenise. `images` are RGB `PIL.Image.Image`s.

        Raises BadRequest if the template refuses the messages.
        """

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        """Start a generation without blocking. `emit` is called from the engine's thread."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text without special tokens. An incomplete UTF-8 character at the end becomes
        U+FFFD."""

    def close(self) -> None:
        """Stop threads and free memory; running generations end with an error step."""


@runtime_checkable
class TextModel(ChatModel, Protocol):
    """A ChatModel that also completes any text, without a chat template."""

    vocabulary: Vocabulary
    vocab_size: int
    """Token ids of a prompt are below it."""

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        """A prompt of the given tokens: at least one, all in `range(vocab_size)`.

        Raises BadRequest for a token that does not represent text, such as an image's.
        """


class TemplatedModel(ChatModel, Protocol):
    """A ChatModel whose chat template is known and gets tools and variables."""

    chat_template: str
    """The Jinja source."""

    def prompt(
        self,
        messages: Sequence[Message],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt: ...

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text that the chat template gives, with seams (engines.special_text) in the special
        tokens of users. Raises BadRequest."""


class CompiledFormat(Protocol):
    """A format that an engine has compiled."""

    unenforced: Sequence[str]
    """The keywords of its schema that texts need not follow."""


class GuidedModel(ChatModel, Protocol):
    """A ChatModel whose text can be made to follow a format. `supports` has `json_schema` for
    schemas, and `grammar` for the other kinds, calls among them."""

    def compile(self, wanted: OutputFormat) -> CompiledFormat:
        """`Sampling.grammar` for a format, within a few seconds.

        Raises BadRequest for a schema that is invalid, not supported or too expensive, and
        QueueFull.
        """
