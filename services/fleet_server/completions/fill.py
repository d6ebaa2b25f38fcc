"""Prompts to fill in the middle: the model writes the text between a prompt and a suffix.

The special tokens are those of the models' authors; all of them were trained with the prefix first:
* Qwen2.5-Coder (github.com/QwenLM/Qwen2.5-Coder, "Fill in the middle"), CodeGemma
  (ai.google.dev/gemma/docs/codegemma) and Granite 4;
* StarCoder (arxiv.org/abs/2305.06161), StarCoder2 and Granite Code;
* SantaCoder (arxiv.org/abs/2301.03988);
* DeepSeek-Coder (github.com/deepseek-ai/DeepSeek-Coder, "Code Insertion");
* Code Llama (arxiv.org/abs/2308.12950, section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_contract.errors import UnsupportedParameter
from fleet_server.engines.special_text import SpecialText
from fleet_server.generation.output import VisibleMarks, visible_marks
from fleet_server.protocols import TextModel, Vocabulary


@dataclass(frozen=True, slots=True)
class FillForm:
    """The special tokens before the prefix, the suffix and the middle, and those that end the
    middle besides the model's end of text.

    `anchor` is put in front of a suffix to be tokenised, and its tokens are removed: vocabularies
    of the SentencePiece kind put a space in front of a text.
    """

    prefix: str
    suffix: str
    middle: str
    ends: tuple[str, ...] = ()
    anchor: str = ""


FORMS = (
    FillForm(
        "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
        ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"),
    ),
    FillForm(
        "<fim_prefix>", "<fim_suffix>", "<fim_middle>",
        ("<|endoftext|>", "<fim_pad>", "<repo_name>", "<file_sep>"),
    ),
    FillForm("<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<|endoftext|>",)),
    FillForm("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    FillForm("▁<PRE>", "▁<SUF>", "▁<MID>", ("▁<EOT>",), anchor="\u263a"),
)  # fmt: skip


class Fill:
    """Puts prompts in front of a suffix with the special tokens of one model.

    `stop` are the texts of the tokens that end the middle, which `decode` leaves in the text.
    """

    def __init__(self, model: TextModel, suffix: str, name: str) -> None:
        """`name` is that of the model. Raises UnsupportedParameter if it has no such tokens."""
        vocabulary = self._vocabulary = model.vocabulary
        for form in FORMS:
            marks = _single(vocabulary, (form.prefix, form.suffix, form.middle))
            if len(marks) == len(set(marks)) == 3:
                break
        else:
            raise UnsupportedParameter(
                f"'suffix' needs a model that fills in the middle: the tokenizer of {name!r} has "
                f"no tokens for it, such as {FORMS[0].prefix!r}.",
                param="suffix",
            )
        self._prefix, self._suffix, self._middle = marks
        self._head = _head(vocabulary.encode("a", True), vocabulary.encode("a", False))
        self._words = SpecialText((form.prefix, form.suffix, form.middle, *form.ends))
        anchor = self._encode(form.anchor) if form.anchor else []
        self._after = self._encode(form.anchor + suffix)[len(anchor) :]
        self.decode = VisibleMarks(model.decode, visible_marks(model, form.ends))
        found = (vocabulary.decode([end]).strip() for end in _single(vocabulary, form.ends))
        self.stop = tuple(filter(None, found))

    def around(self, prompt: str | Sequence[int]) -> list[int]:
        """The tokens of a prompt and the suffix. Special tokens in a text are text; to token ids
        none are added in front."""
        head: Sequence[int] = ()
        if isinstance(prompt, str):
            head, prompt = self._head, self._encode(prompt)
        return [*head, self._prefix, *prompt, self._suffix, *self._after, self._middle]

    def _encode(self, text: str) -> list[int]:
        # Not all of these tokens are special ones for their tokenizers.
        parts = self._words.parts(text)
        encode_parts = getattr(self._vocabulary, "encode_parts", None)
        if encode_parts is None:
            return [
                token for part in parts for token in self._vocabulary.encode(part, False, False)
            ]
        found: list[int] = encode_parts(parts, False, False)
        return found


def _single(vocabulary: Vocabulary, marks: Sequence[str]) -> list[int]:
    """The ids of those marks that are single tokens."""
    found = [vocabulary.encode(mark, False) for mark in marks]
    return [ids[0] for ids in found if len(ids) == 1]


def _head(whole: Sequence[int], plain: Sequence[int]) -> Sequence[int]:
    """The special tokens in front of a text, whose tokens without them are `plain`."""
    for number in range(len(whole) - len(plain) + 1):
        if whole[number : number + len(plain)] == plain:
            return whole[:number]
    return []
