"""The tokenizer of a converted model where its vocabulary is not of bytes, and bad files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.hf_tokenizer import HfTokenizer
from fleet_server.load_error import LoadError
from support import tiny_chat

WORDS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "f", "o", "x"]


@pytest.fixture
def sentencepiece(tmp_path: Path) -> HfTokenizer:
    """Parts of Llama 2's tokenizer: spaces as U+2581, unknown characters as bytes."""
    vocab = {word: index for index, word in enumerate(WORDS)}
    merges = [("f", "o"), ("fo", "x")]
    vocab |= {"fo": len(vocab), "fox": len(vocab) + 1}
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    return HfTokenizer(tmp_path)


def test_text_of_a_sentencepiece_vocabulary(sentencepiece: HfTokenizer) -> None:
    ids = sentencepiece.encode("fox 日 fox</s>").tolist()
    assert sentencepiece.decode(ids) == "fox 日 fox"
    assert sentencepiece.decode(ids[:4]).endswith("\ufffd")
    assert sentencepiece.vocabulary.piece(ids[0]) == b" "
    assert [sentencepiece.vocabulary.piece(index) for index in ids[3:6]] == [
        b"\xe6",
        b"\x97",
        b"\xa5",
    ]
    assert sentencepiece.vocabulary.piece(10**6) == b""
    assert sentencepiece.size == len(WORDS) + 2


def test_byte_level_text_in_pieces_is_the_text(tmp_path: Path) -> None:
    tiny_chat.write_tokenizer(tmp_path, "qwen")
    tokenizer = HfTokenizer(tmp_path)
    text = "The quick 日本語 fox"
    ids = tokenizer.encode(text + "<|im_end|>").tolist()
    assert tokenizer.decode(ids) == text
    assert b"".join(tokenizer.vocabulary.piece(index) for index in ids[:-1]) == text.encode()
    assert tokenizer.vocabulary.decode(ids) == text + "<|im_end|>"


def test_without_a_template_messages_are_refused(tmp_path: Path) -> None:
    tiny_chat.tokenizer("qwen").save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TemplateRefusal, match="completions"):
        HfTokenizer(tmp_path).render([{"role": "user", "content": "fox"}])


@pytest.mark.parametrize("content", ["{", '{"model": {"vocab": {"a": 0}}}'])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(LoadError, match=r"tokenizer\.json"):
        HfTokenizer(tmp_path)
