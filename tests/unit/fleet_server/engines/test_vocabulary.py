"""Pieces of byte-level vocabularies."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from fleet_server.engines.encoder_files.vocabulary import BYTES, LibraryVocabulary


def test_every_byte_has_a_letter() -> None:
    assert sorted(BYTES.values()) == list(range(256))
    assert set(BYTES) == set(pre_tokenizers.ByteLevel.alphabet())


def test_pieces_join_to_the_text_though_none_may_be_one() -> None:
    letters = sorted(BYTES)
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    vocabulary = LibraryVocabulary(tokenizer)
    text = "naïve 日本 \n"
    ids = vocabulary.encode(text, False)
    assert len(ids) == len(text.encode())
    assert b"".join(map(vocabulary.piece, ids)) == text.encode()
    assert vocabulary.decode(ids) == text
