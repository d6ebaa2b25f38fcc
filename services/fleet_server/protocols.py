"""The protocols that engines and custom handlers implement, one per task.

The HTTP layer uses nothing else of a model. Methods are called from worker threads unless stated
otherwise and must be thread-safe. Constructors take `(spec: ModelSpec, folder: Path, threads:
int)`, load everything and raise `LoadError` (fleet_server.load_error). Besides the members of its
protocol, a model may have `device: str`, the device it runs on, `healthy: bool`, which turns False
when only a restart helps, and `cache_usage: float`, the share of its key/value cache in use (0..1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


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
    """

    tokens: int
    open: str
    close: str
    is_open: bool = False


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


class FormatKind(StrEnum):
    """How the format of a text is written."""

    JSON_SCHEMA = "json_schema"
    """The text is JSON that is valid against the schema."""
    REGEX = "regex"
    """The whole text matches the regular expression."""
    GRAMMAR = "grammar"
    """The text follows a grammar in Lark, as llguidance reads it, or in llama.cpp's GBNF."""
    CALLS = "calls"
    """The text follows a grammar in Lark with the rules of fleet_server.engines.guided.lark.Plan
    for `parts`, `marks` and `loose`."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The format of a text: `source` as text, whose place in the request is `param`.

    A keyword of a schema that the engine cannot enforce is an error if `strict`, and is ignored and
    reported otherwise. A grammar of calls refers to the schemas `parts`, and to the texts `marks`
    and `loose`, which may be special tokens; it is `free` if it allows any text as well.
    """

    source: str
    param: str
    kind: FormatKind = FormatKind.JSON_SCHEMA
    strict: bool = False
    parts: tuple[OutputFormat, ...] = ()
    marks: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    free: bool = False


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
class TemplateArguments:
    """What a chat template gets besides the messages: `tools` as in a request of OpenAI's chat
    completions, and `variables` by name.

    With `continues` the prompt ends with the text of the last message, which the model continues;
    otherwise with the beginning of its turn, unless `generation_prompt` is false.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = False
    generation_prompt: bool = True

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

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens included. The ids are in `range(size)`."""

    def piece(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token, possibly part of a character."""


@runtime_checkable
class ChatModel(Protocol):
    """Generates the next turn of a conversation.

    Optional members: `emits_text: bool`, whether steps have text instead of token ids (default
    False); `decode` may then block. `adapters: Collection[str]`, the names of the LoRA adapters
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
    `reasoning_budget`, `response_format` and `json_schema` (GuidedModel), `tools` (TemplatedModel).
    Temperature, top_p, max_tokens and stop are always supported, and so is `n`: each choice is a
    generation of its own."""

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


@runtime_checkable
class EmbeddingModel(Protocol):
    """Turns texts into unit vectors.

    Optional members: `embed_concurrent(batch)`, which is `embed` on a part of the cores, with
    `lanes: int`, how many calls of it may run at the same time, and `most_lanes: int`, the greatest
    value `lanes` will have; without lanes `passes: int`, how many calls of `embed` may run at the
    same time (default 1); `prompts: dict[str, str]`, texts that requests select by name, and
    `default_prompt: str | None`, the name used if a request gives none; `special_ids`, two lists of
    the ids that `tokenize` puts before and after every text: a request's own token ids without them
    are refused.
    """

    dimensions: int
    max_tokens: int
    """Maximum number of tokens of one input, special tokens included."""
    vocab_size: int

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with special tokens, never truncated."""

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, each row of length 1, in one pass of the model. The
        batch is within the limits of the spec."""

    def close(self) -> None: ...


@runtime_checkable
class RerankModel(Protocol):
    """Scores the relevance of documents to a query; `passes` is optional, as in EmbeddingModel."""

    max_tokens: int

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Token ids of each pair with special tokens, never truncated."""

    def truncate_pair(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""

    def score(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch)]`, the raw logits of relevance."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Word:
    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, times in seconds; the fields of OpenAI's verbose_json."""

    start: float
    end: float
    text: str
    tokens: Sequence[int] = ()
    seek: int = 0
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to transcribe a recording.

    `temperature` None means Whisper's fallback from 0 upwards, a number that temperature only. An
    engine may call `on_segment` from any thread with each segment that is certain, in order of
    time; the transcript contains all of them. Passes are shared evenly among the `caller`s.
    """

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    word_timestamps: bool = False
    on_segment: Callable[[Segment], None] | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """`language` is an ISO 639-1 code, `duration` seconds of the recording."""

    language: str
    duration: float
    segments: Sequence[Segment] = field(default_factory=tuple)

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


class Cancelled(Exception):
    """Raised by `transcribe` when `cancelled()` became true."""


@runtime_checkable
class ReleasesMemory(Protocol):
    """A model that holds memory which only running requests need."""

    def release(self) -> None:
        """Give it up while no request runs; the next requests may be slower. Requests may arrive
        meanwhile."""


@runtime_checkable
class WarmsUp(Protocol):
    """A SpeechModel whose warm-up costs less than transcribing a window of 30 seconds."""

    def warm(self, audio: Float32) -> None:
        """Run every step of a transcription once, on `audio` without padding; no result."""


@runtime_checkable
class SpeechModel(Protocol):
    """Transcribes and translates speech."""

    languages: frozenset[str]
    """ISO codes of its languages; `{"en"}` for an English-only checkpoint."""
    multilingual: bool
    max_concurrent: int

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        """Transcribe `audio`: float32 mono at 16 kHz in -1..1, any length.

        An empty or silent recording gives no segments. `cancelled` is polled at least once per
        window. Raises Cancelled.
        """

    def close(self) -> None: ...
