"""Whisper in the torch engine against transformers' `generate`, with tiny random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.engines.torch import TorchSpeech
from fleet_server.load_error import LoadError
from fleet_server.protocols import Cancelled, SpeechModel, SpeechOptions

RATE = 16_000
LANGUAGES = ("en", "de", "fr")
SPECIALS = [
    "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES),
    "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
    "<|notimestamps|>",
]  # fmt: skip
FIRST = 256
ID = {word: FIRST + number for number, word in enumerate(SPECIALS)}
TIMES = FIRST + len(SPECIALS)


def write(folder: Path, *, multilingual: bool = True, seed: int = 3) -> None:
    """Write a Whisper of two layers with Whisper's order of special tokens."""
    vocabulary = {
        letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    }
    tokenizer = WhisperTokenizer(
        vocab=vocabulary | {"<|endoftext|>": FIRST}, merges=[],
        extra_special_tokens=SPECIALS[1:], pad_token="<|endoftext|>",
    )  # fmt: skip
    tokenizer.add_tokens([f"<|{number * 0.02:.2f}|>" for number in range(1501)])
    assert tokenizer.convert_tokens_to_ids("<|notimestamps|>") == TIMES - 1
    assert tokenizer.convert_tokens_to_ids("<|30.00|>") == TIMES + 1500
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)
    config = WhisperConfig(
        vocab_size=TIMES + 1501, num_mel_bins=16, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_target_positions=64, init_std=0.4,
        pad_token_id=FIRST, bos_token_id=FIRST, eos_token_id=FIRST,
        decoder_start_token_id=ID["<|startoftranscript|>"], begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    # Random timestamps near 0 would make hundreds of windows of a recording.
    model.get_input_embeddings().weight.data[TIMES : TIMES + 500] = 0
    known = {
        "lang_to_id": {f"<|{code}|>": ID[f"<|{code}|>"] for code in LANGUAGES},
        "task_to_id": {task: ID[f"<|{task}|>"] for task in ("transcribe", "translate")},
    }
    model.generation_config = GenerationConfig(
        bos_token_id=FIRST, eos_token_id=FIRST, pad_token_id=FIRST, max_length=24,
        decoder_start_token_id=ID["<|startoftranscript|>"],
        no_timestamps_token_id=ID["<|notimestamps|>"], prev_sot_token_id=ID["<|startofprev|>"],
        is_multilingual=multilingual, **(known if multilingual else {}),
    )  # fmt: skip
    model.save_pretrained(folder)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "w", "task": "speech", "dtype": "float32"} | fields)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Tones that fade in and out."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * random.uniform(100, 3000) * time) for _ in range(4))
    return (0.1 * tones * (np.sin(time * 3) > 0)).astype(np.float32)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whisper")
    write(home)
    return home


@pytest.fixture(scope="module")
def engine(folder: Path) -> TorchSpeech:
    return TorchSpeech(spec(), folder, 1)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> TorchSpeech:
    home = tmp_path_factory.mktemp("whisper-en")
    write(home, multilingual=False)
    return TorchSpeech(spec(), home, 1)


def generated(folder: Path, audio: np.ndarray, **how: Any) -> list[list[int]]:
    """Tokens of each segment, by long-form generation as documented by transformers."""
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    is_short = audio.size <= 30 * RATE
    made = extractor(
        audio, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True,
        truncation=False, padding="max_length" if is_short else "longest",
    )  # fmt: skip
    with torch.inference_mode():
        found = model.generate(
            **made, return_timestamps=True, return_segments=True, temperature=0.0,
            condition_on_prev_tokens=False, **how,
        )  # fmt: skip
    return [segment["tokens"].tolist() for segment in found["segments"][0]]


@pytest.mark.parametrize("seconds", [2, 30, 75])
@pytest.mark.parametrize(("language", "task"), [("de", "transcribe"), ("fr", "translate")])
def test_greedy_tokens(
    engine: TorchSpeech, folder: Path, seconds: int, language: str, task: Any
) -> None:
    audio = sound(seconds)
    options = SpeechOptions(task=task, language=language, temperature=0.0)
    found = engine.transcribe(audio, options, never)
    expected = [
        tokens for tokens in generated(folder, audio, language=language, task=task)
        if engine._tokenizer.decode(tokens, skip_special_tokens=True).strip()
    ]  # fmt: skip
    assert expected
    assert [list(segment.tokens) for segment in found.segments] == expected
    assert (found.language, found.duration) == (language, seconds)


def test_language_and_task_matter(engine: TorchSpeech) -> None:
    audio = sound(5)
    texts = {
        engine.transcribe(audio, SpeechOptions(task, code, temperature=0.0), never).text
        for task in ("transcribe", "translate")
        for code in LANGUAGES
    }
    assert len(texts) > 3


def test_the_language_is_detected_as_transformers_does(engine: TorchSpeech, folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    for seed in range(4):
        audio = sound(3, seed)
        features = extractor(audio, sampling_rate=RATE, return_tensors="pt").input_features
        expected = int(model.detect_language(features)[0])
        found = engine.transcribe(audio, SpeechOptions(temperature=0.0), never)
        assert ID[f"<|{found.language}|>"] == expected


def test_a_prompt(engine: TorchSpeech, folder: Path) -> None:
    audio = sound(4)
    options = SpeechOptions(language="en", temperature=0.0, prompt="Names: Ada")
    prompt_ids = engine._tokenizer.get_prompt_ids("Names: Ada", return_tensors="pt")
    found = engine.transcribe(audio, options, never)
    expected = generated(folder, audio, language="en", task="transcribe", prompt_ids=prompt_ids)
    assert [list(segment.tokens) for segment in found.segments] == expected
    with pytest.raises(BadRequest):
        engine.transcribe(audio, SpeechOptions(prompt="<|translate|>"), never)


def test_segments_are_in_order_and_inside_the_recording(engine: TorchSpeech) -> None:
    found = engine.transcribe(sound(42.5), SpeechOptions(language="en"), never)
    assert found.segments
    for segment in found.segments:
        assert 0 <= segment.start <= segment.end <= 42.5
        assert segment.compression_ratio > 0
        assert segment.avg_logprob <= 0


def test_blocks_of_a_long_recording(engine: TorchSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "fleet_server.engines.torch.speech"
    monkeypatch.setattr(f"{module}.BLOCK_SECONDS", 60)
    sizes = []
    inputs = engine._inputs
    monkeypatch.setattr(
        engine, "_inputs", lambda block: sizes.append(block.size / RATE) or inputs(block)
    )
    found = engine.transcribe(sound(150), SpeechOptions(language="en", temperature=0.0), never)
    assert len(sizes) >= 3
    assert max(sizes) == 60
    assert found.segments[-1].end > 120
    starts = [segment.start for segment in found.segments]
    assert starts == sorted(starts)


def test_an_english_only_checkpoint(english: TorchSpeech) -> None:
    assert isinstance(english, SpeechModel)
    assert (english.languages, english.multilingual) == (frozenset({"en"}), False)
    assert english.transcribe(sound(3), SpeechOptions(temperature=0.0), never).language == "en"


def test_properties(engine: TorchSpeech) -> None:
    assert isinstance(engine, SpeechModel)
    assert engine.languages == frozenset(LANGUAGES)
    assert engine.multilingual


@pytest.mark.parametrize("audio", [np.zeros(0, np.float32), np.zeros(5 * RATE, np.float32)])
def test_silence(engine: TorchSpeech, audio: np.ndarray) -> None:
    found = engine.transcribe(audio, SpeechOptions(), never)
    assert (found.segments, found.duration) == ((), audio.size / RATE)


@pytest.mark.parametrize("checks", [1, 5, 40])
def test_cancel(engine: TorchSpeech, checks: int) -> None:
    """A cancelled recording stops, and the engine continues with the next one."""
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls >= checks

    with pytest.raises(Cancelled):
        engine.transcribe(sound(90), SpeechOptions(language="en", temperature=0.0), cancelled)
    assert calls == checks
    options = SpeechOptions(language="de", temperature=0.0)
    assert engine.transcribe(sound(2), options, never).duration == 2


def test_word_timestamps_are_rejected_with_a_hint(engine: TorchSpeech) -> None:
    with pytest.raises(UnsupportedParameter, match="ctranslate2"):
        engine.transcribe(sound(1), SpeechOptions(word_timestamps=True), never)


def test_another_architecture(tiny_chat: Callable[[str], Path]) -> None:
    with pytest.raises(LoadError, match="llama"):
        TorchSpeech(spec(), tiny_chat("llama"), 1)
