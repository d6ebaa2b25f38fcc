"""The tokenizer of a repository: tokenizer.json and a chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fleet_prepare.chat import vocabulary
from fleet_server.engines import chat_template
from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.encoder_files.vocabulary import encode_parts
from fleet_server.engines.parts_vocabulary import PartsVocabulary
from fleet_server.engines.special_text import SpecialText
from fleet_server.load_error import LoadError
from fleet_server.protocols import NO_ARGUMENTS, TemplateArguments, Vocabulary
from fleet_weights.errors import WeightsError


class HfTokenizer:
    """A ChatTokenizer over a `tokenizers.Tokenizer`. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Raises LoadError that names the file at fault."""
        path = folder / "tokenizer.json"
        try:
            words = vocabulary.read(path)
            self._tokenizer = Tokenizer.from_file(str(path))
        except WeightsError as error:
            raise LoadError(error.message, error.hint) from error
        except Exception as error:  # tokenizers raises bare Exception
            raise LoadError(f"{path} cannot be read: {error}.", "Fetch the model again.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._template = chat_template.read(folder)
        self.chat_template = "" if self._template is None else self._template.source
        self._byte_level = words.byte_level
        self._pieces = {
            index: b"" if index in words.special else piece for index, piece in words.pieces.items()
        }
        self.size = max(words.pieces) + 1
        self.pieces: Mapping[int, bytes] = words.pieces
        self.special = words.special
        special = SpecialText(words.pieces[index].decode() for index in words.special)
        self.vocabulary: Vocabulary = HfVocabulary(
            self._tokenizer, words.pieces, self.size, special
        )

    def render(
        self, messages: Sequence[Mapping[str, Any]], arguments: TemplateArguments = NO_ARGUMENTS
    ) -> str:
        if self._template is None:
            raise TemplateRefusal("it has no template; use /v1/completions")
        return self._template.render(messages, arguments)

    def encode(self, text: str) -> NDArray[np.int64]:
        return np.array(encode_parts(self._tokenizer, [text], False), dtype=np.int64)

    def decode(self, token_ids: Sequence[int]) -> str:
        if not self._byte_level:
            return str(self._tokenizer.decode(list(token_ids)))
        return b"".join(self._pieces.get(i, b"") for i in token_ids).decode("utf-8", "replace")


class HfVocabulary(PartsVocabulary):
    """A Vocabulary (fleet_server.protocols) over a `tokenizers.Tokenizer`."""

    def __init__(
        self, tokenizer: Any, pieces: Mapping[int, bytes], size: int, words: SpecialText
    ) -> None:
        super().__init__(words)
        self._tokenizer = tokenizer
        self._pieces = pieces
        self.size = size

    def _ids(self, parts: Sequence[str], add_special: bool) -> list[int]:
        return encode_parts(self._tokenizer, parts, add_special)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def piece(self, token_id: int) -> bytes:
        return self._pieces.get(token_id, b"")
