"""A whole conversion: the files it writes, fields that a repository lacks, and invalid weights."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from fleet_prepare.safetensors_file import INDEX
from fleet_prepare.whisper import QUANTIZATIONS
from fleet_weights.errors import Stopped, WeightsError
from support.whisper_repository import (
    ADDED,
    CONFIG,
    GENERATION,
    WORDS,
    Repository,
    weights,
)

Convert = Callable[..., Path]
LAYER = "model.decoder.layers.1"


def read(folder: Path, name: str = "config.json") -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_ctranslate2_loads_every_format(convert: Convert, quantization: str) -> None:
    folder = convert(quantization)
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32")
    assert model.n_mels == CONFIG["num_mel_bins"]
    features = ctranslate2.StorageView.from_array(np.ones((1, 80, 3000), np.float32))
    prompt = [ADDED["<|startoftranscript|>"], ADDED["<|en|>"], ADDED["<|transcribe|>"]]
    assert model.generate(features, [prompt], beam_size=1, max_length=16)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.bin", "preprocessor_config.json", "tokenizer.json",
        "vocabulary.json",
    ]  # fmt: skip


def test_the_vocabulary_has_a_row_for_every_token(convert: Convert) -> None:
    found = read(convert(), "vocabulary.json")
    assert len(found) == len(set(found)) == CONFIG["vocab_size"]
    assert all(found[number] == token for token, number in (WORDS | ADDED).items())
    first = ADDED["<|notimestamps|>"] + 1
    assert found[first : first + 2] == ["<|0.00|>", "<|0.02|>"]
    assert found[-1] == "<|30.00|>"


FULL = {
    "suppress_ids": GENERATION["suppress_tokens"],
    "suppress_ids_begin": GENERATION["begin_suppress_tokens"],
    "lang_ids": [ADDED["<|en|>"], ADDED["<|zh|>"]],
    "alignment_heads": GENERATION["alignment_heads"],
}
UPPER = [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("generation", "config", "changed"),
    [
        (GENERATION, {}, {}),
        (None, {}, {"suppress_ids": [], "alignment_heads": UPPER}),
        ({}, {}, {"suppress_ids": [], "alignment_heads": UPPER}),
        ({"_from_model_config": True}, {"suppress_tokens": [3], "begin_suppress_tokens": None},
         {"suppress_ids": [3], "suppress_ids_begin": [], "alignment_heads": UPPER}),
        (GENERATION | {"suppress_tokens": None}, {"suppress_tokens": [3]}, {"suppress_ids": []}),
        (GENERATION | {"begin_suppress_tokens": []}, {}, {"suppress_ids_begin": []}),
        (GENERATION | {"suppress_tokens": [5, 99_999, -1]}, {}, {"suppress_ids": [5]}),
        (GENERATION | {"lang_to_id": None}, {}, {}),
        (GENERATION | {"lang_to_id": {"<|en|>": 99_999}}, {}, {}),
        (GENERATION | {"alignment_heads": [[7, 0], [10, 17]]}, {}, {"alignment_heads": UPPER}),
        (GENERATION | {"alignment_heads": None}, {}, {"alignment_heads": UPPER}),
    ],
)  # fmt: skip
def test_missing_fields_of_the_generation_config_are_read_from_other_files(
    repository: Repository, convert: Convert, generation: Any, config: Any, changed: Any
) -> None:
    repository.files["generation_config.json"] = generation
    repository.files["config.json"] |= config
    assert read(convert()) == FULL | changed


@pytest.mark.parametrize("name", ["suppress_tokens", "begin_suppress_tokens"])
@pytest.mark.parametrize("value", ["220", [1.5], {"a": 1}, [[1]]])
def test_an_invalid_list_of_tokens_is_named(
    repository: Repository, convert: Convert, name: str, value: Any
) -> None:
    repository.files["generation_config.json"] |= {name: value}
    with pytest.raises(WeightsError, match=name):
        convert()


def test_progress_counts_the_bytes_of_the_weights(convert: Convert, repository: Repository) -> None:
    seen: list[tuple[int, int | None]] = []
    convert("int8", progress=lambda done, total: seen.append((done, total)))
    size = sum(tensor.nbytes for tensor in repository.weights.values())
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert len(seen) > 40


def test_it_stops_between_tensors(convert: Convert, repository: Repository) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 5:
            raise Stopped

    with pytest.raises(Stopped):
        convert(check=check)


def test_memory_is_bounded_by_a_tensor_not_by_the_model(
    convert: Convert, repository: Repository
) -> None:
    config = CONFIG | {"d_model": 128, "encoder_layers": 4, "decoder_layers": 4,
                       "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}  # fmt: skip
    repository.files["config.json"] = config
    repository.weights = weights(config)
    size = sum(tensor.nbytes for tensor in repository.weights.values())
    folder = repository.write()
    repository.weights = {}
    repository.write = lambda: folder  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        convert("int8")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 10_000_000
    assert peak < size / 2


def test_an_unknown_format_is_refused(convert: Convert) -> None:
    with pytest.raises(WeightsError, match=r"int4.*Choose from: int8"):
        convert("int4")


def change(name: str, value: Any) -> Callable[[Repository], None]:
    return lambda repository: repository.weights.__setitem__(name, value)


def drop(name: str) -> Callable[[Repository], None]:
    return lambda repository: repository.weights.__delitem__(name)


def config(**values: Any) -> Callable[[Repository], None]:
    return lambda repository: repository.files["config.json"].update(values)


def preprocessor(**values: Any) -> Callable[[Repository], None]:
    return lambda repository: repository.files["preprocessor_config.json"].update(values)


NOT_FINITE = np.full((8, 8), np.nan, np.float32)
HUGE = np.full((8, 8), 1e6, np.float32)


@pytest.mark.parametrize(
    ("damage", "quantization", "named"),
    [
        (drop(f"{LAYER}.fc1.weight"), "int8", rf"{LAYER}\.fc1\.weight"),
        (drop("model.encoder.layer_norm.bias"), "int8", "encoder.layer_norm.bias"),
        (drop("model.decoder.embed_tokens.weight"), "int8", "decoder.embed_tokens.weight"),
        (change(f"{LAYER}.fc2.bias", np.ones(9, np.float32)), "int8", r"fc2.bias.*\[9\].*\[8\]"),
        (change(f"{LAYER}.fc2.bias", np.ones(8, np.int8)), "int8", "fc2.bias.*I8"),
        (change(f"{LAYER}.self_attn.q_proj.weight", NOT_FINITE), "int8", "q_proj.*NaN or infinity"),
        (change(f"{LAYER}.self_attn.v_proj.weight", NOT_FINITE), "float32", "v_proj.*NaN"),
        (change(f"{LAYER}.self_attn.q_proj.weight", HUGE), "float16", "q_proj.*float16"),
        (change("model.decoder.layers.2.fc1.weight", HUGE), "int8", "layers.2.fc1"),
        (change("proj_out.weight", HUGE), "int8", "proj_out.weight.*shape"),
        (config(model_type="llama"), "int8", "config.json.*does not describe a Whisper.*'llama'"),
        (config(activation_function="relu"), "int8", "activation_function"),
        (config(encoder_layers=10**9), "int8", "encoder_layers"),
        (config(d_model="8"), "int8", "d_model"),
        (config(decoder_attention_heads=3), "int8", "3 heads"),
        (config(num_mel_bins=128), "int8", r"conv1.*\[8, 80, 3\].*\[8, 128, 3\]"),
        (preprocessor(hop_length=0), "int8", "hop_length"),
        (preprocessor(chunk_length=10), "int8", "1000 frames"),
    ],
)  # fmt: skip
def test_bad_weights_are_named(
    repository: Repository, convert: Convert, damage: Callable[[Repository], None],
    quantization: str, named: str,
) -> None:  # fmt: skip
    damage(repository)
    with pytest.raises(WeightsError, match=named):
        convert(quantization)


def test_a_large_number_that_int8_holds_by_its_scale_converts(
    repository: Repository, convert: Convert
) -> None:
    repository.weights[f"{LAYER}.self_attn.q_proj.weight"] = HUGE
    assert convert("int8")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_broken_file_is_named(
    repository: Repository, convert: Convert, name: str, content: str
) -> None:
    repository.files[name] = None
    (repository.folder / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match=name):
        convert()


def test_a_missing_config_is_named(repository: Repository, convert: Convert) -> None:
    repository.files["config.json"] = None
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        convert()


def test_a_missing_shard_is_named(repository: Repository, convert: Convert) -> None:
    repository.write()
    name = "model-00002-of-00002.safetensors"
    (repository.folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    (repository.folder / "model.safetensors").unlink()
    repository.write = lambda: repository.folder  # type: ignore[method-assign]
    with pytest.raises(WeightsError, match=name):
        convert()


@pytest.mark.parametrize("settings", ["processor_config.json", None])
def test_preprocessor_settings_are_found_or_made(
    repository: Repository, convert: Convert, settings: str | None
) -> None:
    repository.files["preprocessor_config.json"] = None
    if settings is not None:
        repository.files[settings] = {"feature_extractor": {"n_fft": 512, "mel_filters": [[0.1]]}}
    found = read(convert(), "preprocessor_config.json")
    assert found["n_fft"] == (400 if settings is None else 512)
    assert found["feature_size"] == 80
    assert "mel_filters" not in found
