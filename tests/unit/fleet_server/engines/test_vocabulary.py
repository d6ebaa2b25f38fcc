"""Pieces of byte-level vocabularies."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

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


def test_special_tokens_in_a_text_are_text_on_request() -> None:
    words = {word: n for n, word in enumerate(["[CLS]", "[SEP]", "[", "SEP", "]", "a"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in ("[CLS]", "[SEP]")])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    vocabulary = LibraryVocabulary(tokenizer)
    assert vocabulary.encode("a [SEP] a", True) == [0, 5, 1, 5, 1]
    assert vocabulary.encode("a [SEP] a", True, parse_special=False) == [0, 5, 2, 3, 4, 5, 1]
    assert vocabulary.encode("a [SEP] a", False, parse_special=False) == [5, 2, 3, 4, 5]
