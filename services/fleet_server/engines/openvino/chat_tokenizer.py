"""The tokenizer interface of OpenVinoChat, and the choice between its two implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.hf_tokenizer import HfTokenizer
from fleet_server.engines.openvino.detokenizer import Detokenizer
from fleet_server.engines.openvino.text_encoder import TextEncoder
from fleet_server.engines.parts_vocabulary import PartsVocabulary
from fleet_server.engines.special_text import SpecialText
from fleet_server.protocols import NO_ARGUMENTS, TemplateArguments, Vocabulary

TOKENIZER_GRAPH = "openvino_tokenizer.xml"


class ChatTokenizer(Protocol):
    """Safe to use from several threads. `pieces` are the bytes of each token, `special` the ids of
    special tokens, `chat_template` the Jinja source, empty if there is none."""

    vocabulary: Vocabulary
    chat_template: str
    size: int
    pieces: Mapping[int, bytes]
    special: frozenset[int]

    def render(
        self, messages: Sequence[Mapping[str, Any]], arguments: TemplateArguments = NO_ARGUMENTS
    ) -> str:
        """The prompt for messages of plain text. Raises TemplateRefusal."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Int64 `[tokens]`, never truncated; special tokens are parsed, none is added."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text without special tokens; an incomplete character at the end gives U+FFFD."""


class GenaiTokenizer:
    """A ChatTokenizer over an `openvino_genai.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.chat_template: str = tokenizer.chat_template
        detokenizer = Detokenizer(tokenizer)
        self.decode = detokenizer
        self.pieces: Mapping[int, bytes] = detokenizer.text_pieces()
        self.special = detokenizer.special_ids()
        words = SpecialText(self.pieces[index].decode() for index in self.special)
        self.encode = TextEncoder(tokenizer, words)
        vocabulary = OpenVinoVocabulary(tokenizer, self.encode, detokenizer, words)
        self.vocabulary: Vocabulary = vocabulary
        self.size = vocabulary.size

    def render(
        self, messages: Sequence[Mapping[str, Any]], arguments: TemplateArguments = NO_ARGUMENTS
    ) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=arguments.begins_turn,
                tools=list(arguments.tools) or None,
                extra_context=dict(arguments.variables) or None,
            )
            return str(text)
        except RuntimeError as error:
            raise TemplateRefusal(str(error).strip().splitlines()[-1]) from error


class OpenVinoVocabulary(PartsVocabulary):
    """A Vocabulary over an `openvino_genai.Tokenizer`. Thread-safe."""

    def __init__(
        self, tokenizer: Any, encode: TextEncoder, detokenizer: Detokenizer, words: SpecialText
    ) -> None:
        super().__init__(words)
        self._tokenizer = tokenizer
        self._encode = encode
        self._pieces = detokenizer.pieces
        self.size = max(self._pieces) + 1

    def _ids(self, parts: Sequence[str], add_special: bool) -> list[int]:
        ids: list[int] = []
        for number, part in enumerate(parts):
            ids.extend(self._encode(part, add_special=add_special and number == 0).tolist())
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        if not token_ids:
            return ""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def piece(self, token_id: int) -> bytes:
        return self._pieces.get(token_id, b"")


def choose(source: Path, tokenizer: Any) -> ChatTokenizer:
    """The tokenizer for the model in `source`. Raises LoadError.

    `tokenizer` is the pipeline's; a converted model has no tokenizer graph for it.
    """
    if source.is_dir() and not (source / TOKENIZER_GRAPH).is_file():
        return HfTokenizer(source)
    return GenaiTokenizer(tokenizer)
