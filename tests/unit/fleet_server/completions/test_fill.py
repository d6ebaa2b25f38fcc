"""Filling in the middle, with the special tokens of each family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from fleet_contract.errors import UnsupportedParameter
from fleet_server.completions.fill import FORMS, Fill, FillForm
from fleet_server.engines.encoder_files.vocabulary import LibraryVocabulary
from support.scripted_chat import Bytes, ScriptedChat

QWEN = FORMS[0]
LLAMA = FORMS[-1]
FILE_END, PREFIX, SUFFIX, MIDDLE, START = 1, 2, 3, 4, 256
MARKS = {
    QWEN.prefix: PREFIX, QWEN.suffix: SUFFIX, QWEN.middle: MIDDLE, "<|file_sep|>": FILE_END,
}  # fmt: skip


class FillingBytes(Bytes):
    """Bytes, of which some are Qwen's special tokens."""

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        parts = re.split("(" + "|".join(map(re.escape, MARKS)) + ")", text)
        ids = [START] * add_special
        for part in parts:
            ids += [MARKS[part]] if parse_special and part in MARKS else part.encode()
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        texts = {number: mark for mark, number in MARKS.items()}
        return "".join(texts.get(token) or super(FillingBytes, self).decode([token])
                       for token in token_ids)  # fmt: skip


class Filling(ScriptedChat):
    def decode(self, token_ids: Sequence[int]) -> str:
        return super().decode([token for token in token_ids if token not in MARKS.values()])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_middle_is_between_prompt_and_suffix(serve: Any, stream: bool) -> None:
    """It ends where the model begins another file."""
    with serve(Filling("mid\x01junk", vocabulary=FillingBytes())) as live:
        fields = {"prompt": ["a<|fim_middle|>", "b"], "suffix": "c"}
        if stream:
            texts = ["", ""]
            async for chunk in live.events(**fields):
                for choice in chunk["choices"] if chunk != "[DONE]" else ():
                    texts[choice["index"]] += choice["text"]
        else:
            answer = await live.chat(**fields)
            assert answer.status_code == 200, answer.text
            choices = answer.json()["choices"]
            assert [choice["finish_reason"] for choice in choices] == ["stop", "stop"]
            texts = [choice["text"] for choice in choices]
        assert (await live.chat(prompt=[98], suffix="c")).status_code == 200
        await live.idle()
    assert texts == ["mid", "mid"]
    # Special tokens in a text are text, and none is put in front of token ids.
    assert live.model.read == [
        [START, PREFIX, *b"a<|fim_middle|>", SUFFIX, *b"c", MIDDLE],
        [START, PREFIX, *b"b", SUFFIX, *b"c", MIDDLE],
        [PREFIX, *b"b", SUFFIX, *b"c", MIDDLE],
    ]


async def test_the_suffix_counts(serve: Any) -> None:
    model = Filling("x", vocabulary=FillingBytes(), context_length=12)
    with serve(model, limits={"maxTextChars": 14}) as live:
        error = await live.refused(prompt="abcd", suffix="efgh")
        assert (error["param"], "12 tokens" in error["message"]) == ("prompt", True)
        assert (await live.chat(prompt=["abc", "abc"], suffix="efghi")).status_code == 413
        assert (await live.chat(prompt="abc", suffix="ef")).status_code == 200


async def test_a_model_that_cannot_fill_in_is_named(serve: Any) -> None:
    with serve() as live:
        error = await live.refused(suffix="end")
        assert (await live.chat(suffix="")).status_code == 200
    assert (error["code"], error["param"]) == ("unsupported_parameter", "suffix")
    assert "'scripted' has no tokens for it" in error["message"]


def letters(form: FillForm, *, special: bool, sentencepiece: bool) -> Any:
    """A model over a tokenizer of letters with the tokens of a family."""
    words = ["<unk>", "<s>", *"abcdefgh ☺▁"]
    tokenizer = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, [],
                                     unk_token="<unk>"))  # fmt: skip
    if sentencepiece:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Replace("▁", " ")
    marks = (form.prefix, form.suffix, form.middle, *form.ends)
    tokenizer.add_tokens([AddedToken(mark, special=special, normalized=False) for mark in marks])
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.post_processor = TemplateProcessing("<s> $A", None, [("<s>", 1)])
    return ScriptedChat(vocabulary=LibraryVocabulary(tokenizer)), tokenizer


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prefix)
def test_each_family_has_its_tokens(form: FillForm, special: bool) -> None:
    sentencepiece = form is LLAMA
    model, tokenizer = letters(form, special=special, sentencepiece=sentencepiece)
    fill = Fill(model, "d e", "m")
    tokens = [tokenizer.id_to_token(i) for i in fill.around("a b")]
    before = ["▁", "a", "▁", "b"] if sentencepiece else ["a", " ", "b"]
    after = ["d", "▁", "e"] if sentencepiece else ["d", " ", "e"]
    assert tokens == ["<s>", form.prefix, *before, form.suffix, *after, form.middle]
    assert len(fill.stop) == len(form.ends)
    # The tokens of a family in the code itself are no special tokens.
    inner = fill.around(f"a{form.middle}b")
    assert inner.count(tokenizer.token_to_id(form.middle)) == 1


def test_an_unknown_word_is_no_special_token() -> None:
    """Vocabularies of whole words have one token for all unknown ones."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    with pytest.raises(UnsupportedParameter, match="'m' has no tokens"):
        Fill(ScriptedChat(vocabulary=LibraryVocabulary(tokenizer)), "a", "m")


def test_a_text_of_special_tokens_is_tokenised_at_once() -> None:
    class Counting(FillingBytes):
        calls = 0

        def encode_parts(
            self, parts: Sequence[str], add_special: bool, parse_special: bool = True
        ) -> list[int]:
            self.calls += 1
            return super().encode_parts(parts, add_special, parse_special)

    vocabulary = Counting()
    fill = Fill(Filling("x", vocabulary=vocabulary), "c", "m")
    vocabulary.calls = 0
    text = QWEN.middle * 1000
    assert fill.around(text) == [START, PREFIX, *text.encode(), SUFFIX, *b"c", MIDDLE]
    assert vocabulary.calls == 1


class OlderVocabulary:
    """That of a handler, without `encode_parts`."""

    def __init__(self) -> None:
        known = FillingBytes()
        self.size, self.encode, self.decode, self.piece = (
            known.size, known.encode, known.decode, known.piece
        )  # fmt: skip


async def test_a_vocabulary_may_lack_encode_parts(serve: Any) -> None:
    with serve(Filling("mid", vocabulary=OlderVocabulary())) as live:
        answer = await live.chat(prompt="a<|fim_middle|>", suffix="c")
        assert answer.status_code == 200, answer.text
        await live.idle()
    assert live.model.read == [[START, PREFIX, *b"a<|fim_middle|>", SUFFIX, *b"c", MIDDLE]]
