"""Pairs and special tokens of tokenizer files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from fleet_server.engines.encoder_files.tokenizer import TextTokenizer
from support.tiny_bert import WORDS, write_tokenizer

BERT = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
ROBERTA = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] [SEP] $B [SEP]"}
BACKWARDS = {"single": "$A [SEP]", "pair": "[CLS] $B [SEP] $A [SEP]"}
TWICE = {"single": "$A", "pair": "$A [SEP] $B [SEP] $A"}
NONE = {"single": "$A", "pair": "$A $B"}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def made(template: dict[str, str]) -> tuple[TextTokenizer, Tokenizer]:
        write_tokenizer(tmp_path)
        path = tmp_path / "tokenizer.json"
        library = Tokenizer.from_file(str(path))
        library.post_processor = processors.TemplateProcessing(
            **template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        library.save(str(path))
        library.no_truncation()
        library.no_padding()
        return TextTokenizer(path, 1), library

    return made


@pytest.mark.parametrize("template", [BERT, ROBERTA, BACKWARDS, TWICE, NONE])
def test_pairs_are_those_of_the_library(write: Any, template: dict[str, str]) -> None:
    tokenizer, library = write(template)
    chance = random.Random(5)

    def text() -> str:
        return " ".join(chance.choices([*WORDS, "[SEP]", "other", "  "], k=chance.randrange(9)))

    for _ in range(50):
        query, documents = text(), [text() for _ in range(4)]
        expected = [library.encode(query, document).ids for document in documents]
        assert tokenizer.pairs(query, documents) == expected


def test_the_first_text_of_pairs_is_tokenised_once(write: Any) -> None:
    tokenizer, library = write(BERT)
    given: list[Any] = []

    class Counting:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            given.extend(texts)
            return library.encode_batch_fast(texts, **options)

    tokenizer._tokenizer = Counting()  # type: ignore[assignment]
    tokenizer.pairs("w1 w2", ["w3", "w4", "w5"])
    assert given == ["w1 w2", "w3", "w4", "w5"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [(BERT, ([2], [3])), (BACKWARDS, ([], [3])), (NONE, ([], []))],
)  # fmt: skip
def test_special_tokens_around_a_text(write: Any, template: Any, expected: Any) -> None:
    tokenizer, _ = write(template)
    assert tokenizer.special_ids == expected
    opening, closing = expected
    ids = tokenizer.texts(["w1 w2 w3 w4"])[0]
    assert tokenizer.cut(ids, 4) == [*ids[: 4 - len(closing)], *closing]
    assert ids[: len(opening)] == opening


def test_only_calls_that_release_the_interpreter_lock(tmp_path: Path) -> None:
    library = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextTokenizer(tmp_path / "tokenizer.json", 1)

    class Batches:
        """`encode` and `decode` of the library hold the lock; these are its other methods."""

        encode_batch_fast = staticmethod(library.encode_batch_fast)
        decode_batch = staticmethod(library.decode_batch)

    tokenizer._tokenizer = tokenizer.vocabulary._tokenizer = Batches()  # type: ignore[assignment]
    assert len(tokenizer.texts(["a " * 600])[0]) == 600
    assert len(tokenizer.vocabulary.encode("a " * 600, True)) == 600
    assert tokenizer.vocabulary.decode([0, 0]) == "a a"
