"""The tokenizer of a repository without tokenizer.json, and tokenizers that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from fleet_weights.errors import WeightsError
from support.whisper_repository import ADDED, CONFIG, Repository, tokenizer

Convert = Callable[..., Path]
TEXT = " hello, hëll 東京<|transcribe|>he"


def test_a_tokenizer_built_from_the_slow_files_equals_the_fast_one(
    repository: Repository, convert: Convert
) -> None:
    repository.slow_tokenizer()
    made = Tokenizer.from_file(str(convert() / "tokenizer.json"))
    fast = tokenizer()
    assert made.get_vocab() == fast.get_vocab()
    ids = made.encode(TEXT, add_special_tokens=False).ids
    assert ids == fast.encode(TEXT, add_special_tokens=False).ids
    assert made.decode(ids) == fast.decode(ids)
    framed = made.encode("he").ids
    start, end = (ADDED[name] for name in ("<|startoftranscript|>", "<|endoftext|>"))
    assert framed == [start, ADDED["<|notimestamps|>"], *fast.encode("he").ids, end]


def test_added_tokens_may_be_in_tokenizer_config(repository: Repository, convert: Convert) -> None:
    repository.slow_tokenizer()
    added = repository.files.pop("added_tokens.json")
    repository.files["tokenizer_config.json"] = {
        "added_tokens_decoder": {str(number): {"content": name} for name, number in added.items()}
    }
    made = Tokenizer.from_file(str(convert() / "tokenizer.json"))
    assert made.get_vocab() == tokenizer().get_vocab()


def test_ids_may_have_gaps(repository: Repository, convert: Convert) -> None:
    repository.slow_tokenizer()
    added = repository.files["added_tokens.json"]
    repository.files["added_tokens.json"] = {
        name: number + (number > ADDED["<|zh|>"]) for name, number in added.items()
    }
    repository.files["config.json"]["vocab_size"] += 1
    embedding = "model.decoder.embed_tokens.weight"
    repository.weights[embedding] = repository.weights[embedding].repeat(2, axis=0)[
        : CONFIG["vocab_size"] + 1
    ]
    made = Tokenizer.from_file(str(convert() / "tokenizer.json"))
    assert made.token_to_id("<|notimestamps|>") == ADDED["<|notimestamps|>"] + 1
    assert made.id_to_token(ADDED["<|zh|>"] + 1) is None


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"vocab.json": None}, "neither tokenizer.json nor vocab.json"),
        ({"merges.txt": None}, "merges.txt"),
        ({"merges.txt": "a b c\n"}, "merges.txt.*'a b c'"),
        ({"merges.txt": "xx yy\n"}, "not a tokenizer"),
        ({"vocab.json": {"a": -1}}, "vocab.json.*'a'"),
        ({"vocab.json": {"a": "1"}}, "vocab.json.*'a'"),
        ({"added_tokens.json": {"<|en|>": None}}, r"added_tokens\.json"),
        ({"added_tokens.json": None}, r"no token <\|startoftranscript\|>"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"x": {"content": "a"}}}},
         r"tokenizer_config\.json"),
    ],
)  # fmt: skip
def test_slow_files_that_are_wrong_are_named(
    repository: Repository, convert: Convert, files: dict[str, Any], named: str
) -> None:
    repository.slow_tokenizer()
    repository.files |= files
    with pytest.raises(WeightsError, match=named):
        convert()


def test_a_special_token_beyond_the_embedding_is_named(
    repository: Repository, convert: Convert
) -> None:
    repository.files["config.json"]["vocab_size"] = ADDED["<|notimestamps|>"]
    with pytest.raises(WeightsError, match=r"<\|notimestamps\|> the id"):
        convert()
