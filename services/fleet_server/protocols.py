"""What an engine must be able to do, one small protocol per task.

The HTTP layer calls these and nothing else; an engine, or a handler of your own named by a dotted
path, implements one of them. Methods are called from worker threads unless they say otherwise, and
must be safe to call from several at once. Constructors take `(spec: ModelSpec, folder: Path,
threads: int)`, load everything and raise `LoadError` (fleet_server.load_error) with a reason; a
handler is built the same way. Besides the protocol, a model has `device: str`, the device really
used, and may have `healthy: bool`, which turns False when only a restart helps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class Finish(StrEnum):
    """Why an answer ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    `temperature` 0 is greedy. `seed` makes a request repeatable: exactly in float32, and in
    bfloat16 as far as the rounding of batches of different sizes allows. `json_object` constrains
    the answer to one JSON object, `grammar` (fleet_server.generation.schema_grammar) to its texts.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    json_object: bool = False
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for the engine.

    `num_tokens` is what usage reports, image tokens included; `state` is the engine's own. `tail`
    are its last tokens where the answer goes on in the middle of a text: some vocabularies write
    the space before a word only behind another.
    """

    num_tokens: int
    state: Any
    tail: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """New tokens of one request; `finish` is set on the last step, whose tokens count too.

    The token that ends an answer (end of turn) is not among `token_ids`. `error` ends the answer
    with a failure.
    """

    token_ids: Sequence[int]
    finish: Finish | None = None
    error: Exception | None = None


class Generation(Protocol):
    """A running answer."""

    def cancel(self) -> None:
        """Stop soon and free the slot. Idempotent, never blocks; no `emit` needs to follow."""


Message = dict[str, Any]
"""`{"role": str, "content": str | list[part]}`; a part is `{"type": "text", "text": str}` or
`{"type": "image"}`, the n-th of which stands for the n-th of `images`."""


class Vocabulary(Protocol):
    """A model's tokenizer as it is, for /tokenize and /detokenize. A model that has one to show
    has it as `vocabulary`, beside its protocol."""

    size: int

    def encode(self, text: str, add_special: bool) -> list[int]:
        """Token ids; `add_special` adds what belongs around a text. Special tokens spelt in the
        text are read as such."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text, special tokens included. The ids are in `range(size)`."""

    def piece(self, token_id: int) -> bytes:
        """What one token stands for; not always whole characters."""


@runtime_checkable
class ChatModel(Protocol):
    """Writes the next turn of a conversation."""

    context_length: int
    """Most tokens of prompt and answer together."""
    max_concurrent: int
    """Answers the engine works on at once; the HTTP layer never submits more."""
    supports: frozenset[str]
    """Optional OpenAI parameters it honours: `seed`, `presence_penalty`, `frequency_penalty`,
    `response_format` (JSON objects), `json_schema` (grammars). Temperature, top_p, max_tokens and
    stop always are."""

    def prompt(self, messages: Sequence[Message], images: Sequence[Any]) -> Prompt:
        """Apply the chat template and tokenise. `images` are RGB `PIL.Image.Image`s.

        Raises BadRequest if the template refuses the messages.
        """

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        """Start an answer, without blocking. `emit` is called from the engine's thread."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, special tokens left out. An unfinished UTF-8 character at the end
        gives U+FFFD."""

    def close(self) -> None:
        """Stop threads and free memory; running answers end with an error step."""


@runtime_checkable
class TextModel(ChatModel, Protocol):
    """A ChatModel that goes on from any text too, without a chat template."""

    vocabulary: Vocabulary
    vocab_size: int
    """Ids of the tokens it reads are below it."""

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        """The tokens as they are: at least one, all in `range(vocab_size)`.

        Raises BadRequest if they hold one that stands for something else than text.
        """


@runtime_checkable
class EmbeddingModel(Protocol):
    """Turns texts into unit vectors.

    It may have `embed_beside`, which is `embed` on a part of the cores: `lanes` calls of it run at
    the same time, `most_lanes` at most once the model is loaded wholly. Without lanes it may have
    `passes`, how many calls of `embed` run at the same time; one where it has not. It may have
    `prompts`, texts by name that requests choose from, and `default_prompt`, the name of the one
    that is used where a request names none.
    """

    dimensions: int
    max_tokens: int
    """Most tokens of one input, special tokens included."""
    vocab_size: int

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with special tokens, never truncated."""

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, each row of length 1. One pass of the model: the
        caller bounds the batch."""

    def close(self) -> None: ...


@runtime_checkable
class RerankModel(Protocol):
    """Scores how well documents answer a query. It may have `passes`, as an EmbeddingModel."""

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
    """What to do with a recording. `temperature` None means the usual fallback ladder from 0, a
    number that temperature and no other.

    An engine may call `on_segment` from any thread with each segment that has become certain, in order
    of time; the transcript holds them all again.
    """

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    word_timestamps: bool = False
    on_segment: Callable[[Segment], None] | None = None


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
class WarmsUp(Protocol):
    """A SpeechModel that can be run once for less than a whole window of 30 seconds costs."""

    def warm(self, audio: Float32) -> None:
        """Every step of a transcription, on no more than `audio`; what is on_segment is dropped."""


@runtime_checkable
class SpeechModel(Protocol):
    """Writes down speech."""

    languages: frozenset[str]
    """ISO codes it knows; `{"en"}` for an English-only checkpoint."""
    multilingual: bool
    max_concurrent: int

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        """`audio` is float32 mono at 16 kHz in -1..1, any length. `cancelled` is asked between
        windows. An empty or silent recording gives no segments."""

    def close(self) -> None: ...
