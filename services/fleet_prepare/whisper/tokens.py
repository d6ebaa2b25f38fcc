"""Reads a repository's tokenizer.json, or builds one from vocab.json and merges.txt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from fleet_prepare.json_file import read_object, read_text
from fleet_prepare.safetensors_file import FETCH_AGAIN
from fleet_weights.errors import WeightsError

END = "<|endoftext|>"
START = "<|startoftranscript|>"
TRANSLATE = "<|translate|>"
TRANSCRIBE = "<|transcribe|>"
NO_TIMESTAMPS = "<|notimestamps|>"
NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")
"""Its name in large-v3 and in the models before."""
REQUIRED = (END, START, TRANSCRIBE, NO_TIMESTAMPS)
SECONDS_PER_TIMESTAMP = 0.02


@dataclass(frozen=True, slots=True)
class WhisperTokens:
    """`text` is a tokenizer.json, `ids` its tokens with added ones."""

    text: str
    ids: Mapping[str, int]

    @property
    def languages(self) -> list[int]:
        """Ids of the language tokens, which are between the start and the first task."""
        tasks = [self.ids[name] for name in (TRANSLATE, TRANSCRIBE) if name in self.ids]
        start, stop = self.ids[START], min(tasks)
        return sorted(number for number in self.ids.values() if start < number < stop)

    def vocabulary(self, size: int) -> list[str]:
        """`size` tokens by id. Timestamps follow `<|notimestamps|>`, whether named or not."""
        names = {number: token for token, number in self.ids.items()}
        first = self.ids[NO_TIMESTAMPS] + 1
        return [
            names.get(number) or _unnamed(number, first, number in names) for number in range(size)
        ]


def _unnamed(number: int, first_timestamp: int, is_empty: bool) -> str:
    if is_empty:
        return ""
    if number < first_timestamp:
        return f"<|unused_{number}|>"
    return f"<|{(number - first_timestamp) * SECONDS_PER_TIMESTAMP:.2f}|>"


def tokens(folder: Path, vocab_size: int) -> WhisperTokens:
    """Raises WeightsError for files that are missing or broken, and for a token that Whisper needs.

    `vocab_size` is the number of rows of the embedding.
    """
    path = folder / "tokenizer.json"
    text = read_text(path)
    try:
        # The library raises bare Exception.
        made = Tokenizer.from_str(text) if text is not None else _build(folder)
        text = text if text is not None else made.to_str()
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} is not a tokenizer: {error}.", FETCH_AGAIN) from error
    ids = made.get_vocab(with_added_tokens=True)
    for name in REQUIRED:
        if name not in ids:
            raise WeightsError(f"The tokenizer in {folder} has no token {name}.", FETCH_AGAIN)
        if ids[name] >= vocab_size:
            raise WeightsError(
                f"The tokenizer in {folder} gives {name} the id {ids[name]}; the model has "
                f"{vocab_size} tokens."
            )
    return WhisperTokens(text, ids)


def _build(folder: Path) -> Tokenizer:
    """Byte-level BPE with every added token, like transformers' slow Whisper tokenizer."""
    vocabulary = _ids(folder / "vocab.json")
    merges = _merges(folder / "merges.txt")
    added = _added(folder)
    # Added to the vocabulary first: there their ids may have gaps.
    made = Tokenizer(models.BPE({**vocabulary, **added}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = [AddedToken(name, normalized=False, special=True) for name in _ordered(added)]
    made.add_special_tokens([AddedToken(END, normalized=False, special=True), *special])
    ends = [(name, made.token_to_id(name)) for name in (START, NO_TIMESTAMPS, END)]
    if all(number is not None for _, number in ends):
        made.post_processor = processors.TemplateProcessing(
            single=f"{START} {NO_TIMESTAMPS} $A {END}",
            pair=f"{START} {NO_TIMESTAMPS} $A $B:1 {END}:1",
            special_tokens=ends,
        )
    return made


def _ordered(ids: Mapping[str, int]) -> list[str]:
    return sorted(ids, key=lambda name: ids[name])


def _ids(path: Path) -> dict[str, int]:
    found = read_object(path)
    if found is None:
        raise WeightsError(
            f"{path.parent} holds neither tokenizer.json nor {path.name}.", FETCH_AGAIN
        )
    return _checked(found.items(), path)


def _checked(pairs: Iterable[tuple[Any, Any]], path: Path) -> dict[str, int]:
    found = dict(pairs)
    for name, number in found.items():
        if type(name) is not str or type(number) is not int or not 0 <= number < 1 << 31:
            raise WeightsError(f"{path}: {name!r} has the id {number!r}.", FETCH_AGAIN)
    return found


def _merges(path: Path) -> list[tuple[str, str]]:
    text = read_text(path)
    if text is None:
        raise WeightsError(f"{path.parent} holds no {path.name}.", FETCH_AGAIN)
    pairs = []
    # Bytes are written as printable characters, some of which count as line ends in Unicode.
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#version"):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise WeightsError(f"{path}: {line[:80]!r} is not a merge of two tokens.", FETCH_AGAIN)
        pairs.append((pair[0], pair[1]))
    return pairs


def _added(folder: Path) -> dict[str, int]:
    """Added tokens by id, of added_tokens.json and of tokenizer_config.json."""
    path = folder / "added_tokens.json"
    found = _checked((read_object(path) or {}).items(), path)
    path = folder / "tokenizer_config.json"
    decoder = (read_object(path) or {}).get("added_tokens_decoder")
    if isinstance(decoder, dict):
        pairs = (
            (value.get("content") if isinstance(value, dict) else None, _number(key))
            for key, value in decoder.items()
        )
        found |= _checked(pairs, path)
    return found


def _number(key: str) -> int | str:
    return int(key) if key.isdecimal() and len(key) < 11 else key
