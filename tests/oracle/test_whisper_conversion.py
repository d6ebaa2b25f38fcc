"""Converted Whisper models against transformers with the same random weights, in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from ctranslate2.converters.transformers import (
    _WHISPER_ALIGNMENT_HEADS,
    TransformersConverter,
)
from faster_whisper import WhisperModel, decode_audio
from transformers import WhisperTokenizerFast
from transformers.generation import (
    GenerationMixin,
    LogitsProcessorList,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.models.whisper import generation_whisper

from bench import whisper_checkpoint
from fleet_contract.spec import ModelSpec
from fleet_prepare.whisper.alignment import KNOWN
from fleet_server.engines.ctranslate2 import SpeechEngine
from fleet_server.protocols import SpeechOptions
from oracle.whisper_repository import KINDS, Repository, convert, recordings, write

pytestmark = pytest.mark.weights

LENGTH = 48
SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


@pytest.fixture(scope="module", params=KINDS)
def repository(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    demo_weights: Callable[[str], Path],
) -> Repository:
    return write(tmp_path_factory.mktemp("repository"), request.param, demo_weights)


@pytest.fixture(scope="module")
def folder(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(repository.folder, tmp_path_factory.mktemp("converted") / "model")


@pytest.fixture(scope="module")
def converted(folder: Path) -> ctranslate2.models.Whisper:
    return ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)


def greedy(repository: Repository, features: Any, timestamps: bool) -> list[list[int]]:
    """transformers' tokens for one window, with its rules for suppression and timestamps.

    `WhisperForConditionalGeneration.generate` would continue at the last timestamp.
    """
    prompt = repository.prompt(timestamps)
    config = repository.model.generation_config
    rules = LogitsProcessorList(
        [SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, len(prompt)),
         SuppressTokensLogitsProcessor(config.suppress_tokens)]
    )  # fmt: skip
    if timestamps:
        rules.append(WhisperTimeStampLogitsProcessor(config, begin_index=len(prompt)))
    with torch.no_grad():
        found = GenerationMixin.generate(
            repository.model, inputs=torch.from_numpy(features), logits_processor=rules,
            decoder_input_ids=torch.tensor([prompt] * len(features)), num_beams=1, do_sample=False,
            max_new_tokens=LENGTH, suppress_tokens=None, begin_suppress_tokens=None,
            max_length=None, attention_mask=torch.ones(len(features), features.shape[-1]),
        )  # fmt: skip
    return [cut(row[len(prompt) :], config.eos_token_id) for row in found.tolist()]


def cut(tokens: list[int], end: int) -> list[int]:
    return (tokens[: tokens.index(end)] if end in tokens else tokens)[:LENGTH]


@pytest.mark.parametrize("timestamps", [False, True])
def test_greedy_tokens_equal_those_of_transformers(
    repository: Repository, converted: ctranslate2.models.Whisper, timestamps: bool
) -> None:
    features = recordings(repository.kind)
    prompt = repository.prompt(timestamps)
    answers = converted.generate(
        ctranslate2.StorageView.from_array(features), [prompt] * len(features), beam_size=1,
        max_length=2 * (LENGTH + len(prompt)),
    )  # fmt: skip
    expected = greedy(repository, features, timestamps)
    found = [cut(answer.sequences_ids[0], -1) for answer in answers]
    assert found == expected
    assert len({*expected[0], *expected[1]}) > 5
    if timestamps:
        assert any(token > repository.ids["<|notimestamps|>"] for token in expected[0])


def test_words_align_with_the_cross_attention_of_transformers(
    repository: Repository, converted: ctranslate2.models.Whisper
) -> None:
    start, text = repository.prompt(timestamps=True), list(range(300, 1100, 100))
    features = recordings(repository.kind)[:1]
    tokens = [*start, repository.ids["<|notimestamps|>"], *text, repository.ids["<|endoftext|>"]]
    repository.model.set_attn_implementation("eager")
    with torch.no_grad():
        attention = repository.model(
            torch.from_numpy(features), decoder_input_ids=torch.tensor([tokens]),
            output_attentions=True,
        ).cross_attentions  # fmt: skip
    heads = repository.model.generation_config.alignment_heads
    weights = torch.stack([attention[layer][0, head] for layer, head in heads])
    for frames in (3000, 1200):
        (found,) = converted.align(
            ctranslate2.StorageView.from_array(features), start, [text], [frames]
        )
        path = alignment(weights[..., : frames // 2])[len(start) : -1]
        expected = np.stack(generation_whisper._dynamic_time_warping(-path), 1)
        assert [list(step) for step in found.alignments] == expected.tolist()


def alignment(attention: torch.Tensor) -> Any:
    """OpenAI Whisper's alignment: attention `[heads, tokens, positions]`, normalised, smoothed and
    averaged to `[tokens, positions]`.
    """
    weights = attention / attention.sum(-1, keepdim=True)
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    smooth = generation_whisper._median_filter((weights - mean) / deviation, 7)
    return smooth.mean(0).double().numpy()


def test_the_config_is_that_of_the_repository(repository: Repository, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    ids, generation = repository.ids, repository.model.generation_config
    assert config["suppress_ids"] == repository.suppressed
    assert config["suppress_ids_begin"] == [220, ids["<|endoftext|>"]]
    assert config["alignment_heads"] == generation.alignment_heads
    assert config["lang_ids"] == list(range(ids["<|en|>"], ids["<|translate|>"]))
    assert len(config["lang_ids"]) == (100 if repository.kind.vocab_size == 51866 else 99)


def test_faster_whisper_loads_the_model(
    repository: Repository, folder: Path, demo_weights: Callable[[str], Path]
) -> None:
    model = WhisperModel(str(folder), device="cpu", compute_type="float32", local_files_only=True)
    assert model.feature_extractor(np.zeros(16_000, np.float32)).shape[0] == repository.kind.mels
    assert model.model.is_multilingual is not repository.kind.english
    assert model.hf_tokenizer.token_to_id("<|notimestamps|>") == repository.ids["<|notimestamps|>"]
    text = " Grüße: naïve café, 東京で 42 cats — don't!"
    name = "Systran/faster-whisper-tiny.en" if repository.kind.english else "openai/whisper-base"
    oracle = WhisperTokenizerFast(tokenizer_file=str(demo_weights(name) / "tokenizer.json"))
    expected = oracle.encode(text, add_special_tokens=False)
    assert model.hf_tokenizer.encode(text, add_special_tokens=False).ids == expected
    assert model.hf_tokenizer.decode(expected) == text


def test_the_files_equal_those_of_ctranslate2s_own_converter(
    tmp_path: Path, demo_weights: Callable[[str], Path]
) -> None:
    """Its converter needs torch and transformers, which are installed for tests only."""
    made = write(tmp_path / "hub", "openai/whisper-tiny", demo_weights)
    WhisperTokenizerFast.from_pretrained(made.folder).save_pretrained(made.folder)
    for quantization in ("int8", "int8_float16", "float32"):
        own = convert(made.folder, tmp_path / quantization, quantization)
        theirs = tmp_path / f"{quantization}-theirs"
        TransformersConverter(str(made.folder)).convert(str(theirs), quantization=quantization)
        assert (own / "model.bin").read_bytes() == (theirs / "model.bin").read_bytes()
        config = json.loads((own / "config.json").read_text())
        assert config == json.loads((theirs / "config.json").read_text())


@pytest.mark.parametrize("name", ["Systran/faster-whisper-tiny.en", "openai/whisper-base"])
def test_published_weights_round_trip(
    tmp_path: Path, demo_weights: Callable[[str], Path], name: str
) -> None:
    """faster-whisper's files, converted to Hugging Face's layout and back."""
    published = demo_weights(name)
    (tmp_path / "hub").mkdir()
    whisper_checkpoint.write_from_ctranslate2(published, tmp_path / "hub")
    folder = convert(tmp_path / "hub", tmp_path / "float16", "float16")
    theirs = whisper_checkpoint.variables(published / "model.bin")
    ours = whisper_checkpoint.variables(folder / "model.bin")
    assert theirs.keys() <= ours.keys()
    for variable, expected in theirs.items():
        np.testing.assert_array_equal(ours[variable], expected, variable)
    config = json.loads((folder / "config.json").read_text())
    # The languages published for tiny.en lack its first, English.
    kept = json.loads((published / "config.json").read_text())
    assert config == kept | {"lang_ids": config["lang_ids"]}
    assert set(kept["lang_ids"]) <= set(config["lang_ids"])
    assert json.loads((folder / "vocabulary.json").read_text()) == tokens_of(published)


def tokens_of(folder: Path) -> list[str]:
    return (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]


def test_equal_transcripts_from_int8_files(
    tmp_path: Path, demo_weights: Callable[[str], Path]
) -> None:
    published = demo_weights("Systran/faster-whisper-tiny.en")
    (tmp_path / "hub").mkdir()
    whisper_checkpoint.write_from_ctranslate2(published, tmp_path / "hub")
    folder = convert(tmp_path / "hub", tmp_path / "int8", "int8")
    assert (folder / "model.bin").stat().st_size < (published / "model.bin").stat().st_size * 0.6
    audio = decode_audio(str(SAMPLES / "garden.ogg"))
    spec = ModelSpec.model_validate(
        {"model": "m", "task": "speech", "device": "cpu", "dtype": "int8"}
    )
    transcripts = []
    for files in (published, folder):
        engine = SpeechEngine(spec, files, 2)
        try:
            transcripts.append(engine.transcribe(audio, SpeechOptions(word_timestamps=True), bool))
        finally:
            engine.close()
    words = [
        [word for part in found.segments for word in part.words or ()] for found in transcripts
    ]
    assert len(words[0]) > 5
    assert [word.word for word in words[1]] == [word.word for word in words[0]]
    # The published float16 is rounded to int8 when it is loaded, which moves one or two edges.
    for theirs, ours in zip(*words, strict=True):
        assert ours.start == pytest.approx(theirs.start, abs=0.1)
        assert ours.end == pytest.approx(theirs.end, abs=0.1)


def test_the_known_alignment_heads_are_ctranslate2s() -> None:
    sizes = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12), "medium": (1024, 24),
             "large-v2": (1280, 32), "large-v3": (1280, 32)}  # fmt: skip
    for name, expected in _WHISPER_ALIGNMENT_HEADS.items():
        size = name.removeprefix("openai/whisper-")
        vocabulary = 51864 if size.endswith(".en") else 51866 if size == "large-v3" else 51865
        # "large" is the first of three models of this width; the table has v2.
        if size != "large":
            assert KNOWN[(*sizes[size.removesuffix(".en")], vocabulary)] == expected, name
