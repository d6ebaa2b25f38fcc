"""What a chat engine needs of a tokenizer, and the choice between the two there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.openvino.detokenizer import Detokenizer
from fleet_server.engines.openvino.hf_tokenizer import HfTokenizer
from fleet_server.engines.openvino.text_encoder import TextEncoder
from fleet_server.engines.openvino.vocabulary import OpenVinoVocabulary
from fleet_server.protocols import Vocabulary

TOKENIZER_GRAPH = "openvino_tokenizer.xml"


class ChatTokenizer(Protocol):
    """Safe to use from several threads."""

    vocabulary: Vocabulary
    size: int

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The prompt for messages of plain text. Raises TemplateRefusal."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Int64 `[tokens]`, never cut; special tokens are read but none is added."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text without special tokens; an unfinished character at the end gives U+FFFD."""


class GenaiTokenizer:
    """A ChatTokenizer over an `openvino_genai.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.encode = TextEncoder(tokenizer)
        self.decode = Detokenizer(tokenizer)
        vocabulary = OpenVinoVocabulary(tokenizer, self.encode, self.decode)
        self.vocabulary: Vocabulary = vocabulary
        self.size = vocabulary.size

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))
        except RuntimeError as error:
            raise TemplateRefusal(str(error).strip().splitlines()[-1]) from error


def choose(source: Path, tokenizer: Any) -> ChatTokenizer:
    """The tokenizer for what is loaded from `source`. Raises LoadError.

    `tokenizer` is the pipeline's own; it is used where it has a graph to tokenize with.
    """
    if source.is_dir() and not (source / TOKENIZER_GRAPH).is_file():
        return HfTokenizer(source)
    return GenaiTokenizer(tokenizer)
