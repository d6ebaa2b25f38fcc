"""EmbeddingEngine on a tiny random BERT: vectors, lengths, pooling, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from safetensors.numpy import save_file

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import EmbeddingEngine, executor
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel
from support.waiting import until

Write = Callable[..., Path]
EncoderTensors = Callable[..., dict[str, np.ndarray]]


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {"model": "tiny", "task": "embedding", "dtype": "float32"} | fields
    )


def vectors(folder: Path, texts: list[str], **fields: Any) -> np.ndarray:
    engine = EmbeddingEngine(spec(**fields), folder, 1)
    return engine.embed(engine.tokenize(texts))


TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11 w12 w13 w14", "w1 w2 w4"]


def test_it_is_an_embedding_model_with_known_sizes(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    assert isinstance(engine, EmbeddingModel)
    assert (engine.dimensions, engine.max_tokens, engine.vocab_size) == (16, 24, 64)


def test_vectors_have_length_one_in_every_format(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    for dtype in ("float32", "bfloat16", "auto"):
        found = vectors(folder, TEXTS, dtype=dtype)
        assert found.dtype == np.float32
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)


def test_a_text_has_one_vector_whatever_it_is_batched_with(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    together = engine.embed(engine.tokenize(TEXTS))
    for text, row in zip(TEXTS, together, strict=True):
        (alone,) = engine.embed(engine.tokenize([text]))
        assert alone == pytest.approx(row, abs=1e-5)


def test_the_tokenizer_files_truncation_and_padding_are_ignored(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    short, long = engine.tokenize(["w1", " ".join(["w2"] * 100)])
    assert (len(short), len(long)) == (3, 102)


def test_truncate_keeps_the_closing_token(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    (ids,) = engine.tokenize([" ".join(["w2"] * 100)])
    cut = engine.truncate(ids)
    assert len(cut) == 24
    assert (cut[0], cut[-1]) == (2, 3)
    assert engine.truncate([7] * 30) == [7] * 24
    assert engine.truncate([2, 5, 3]) == [2, 5, 3]


def test_an_input_of_full_length_runs(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    assert engine.embed([[2, *[9] * 22, 3], [2, 3]]).shape == (2, 16)


def test_names_may_carry_a_prefix_and_old_spellings(
    tiny_encoder: Write, encoder_tensors: EncoderTensors
) -> None:
    plain = vectors(tiny_encoder(), TEXTS)
    prefixed = encoder_tensors("bert.") | {"cls.predictions.bias": np.zeros(4, np.float32)}
    assert np.array_equal(vectors(tiny_encoder(prefixed), TEXTS), plain)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in encoder_tensors("model.").items()
    }
    assert np.array_equal(vectors(tiny_encoder(old), TEXTS), plain)


def test_half_precision_weights_are_read(
    tiny_encoder: Write, encoder_tensors: EncoderTensors
) -> None:
    halves = {name: array.astype(np.float16) for name, array in encoder_tensors().items()}
    full = {name: array.astype(np.float32) for name, array in halves.items()}
    stored_half = vectors(tiny_encoder(halves), TEXTS)
    assert np.array_equal(stored_half, vectors(tiny_encoder(full), TEXTS))


def test_poolings_differ_and_the_repo_decides(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    by_spec = {name: vectors(folder, TEXTS, pooling=name) for name in ("cls", "mean", "last")}
    assert not np.allclose(by_spec["cls"], by_spec["mean"], atol=1e-3)
    assert not np.allclose(by_spec["cls"], by_spec["last"], atol=1e-3)
    assert np.array_equal(vectors(folder, TEXTS), by_spec["mean"])
    (folder / "1_Pooling").mkdir()
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert np.array_equal(vectors(folder, TEXTS), by_spec["cls"])
    pooling.write_text(json.dumps({"pooling_mode": "lasttoken"}))
    assert np.array_equal(vectors(folder, TEXTS), by_spec["last"])


def test_last_pooling_takes_the_last_real_token(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(pooling="last"), tiny_encoder(), 1)
    (alone,) = engine.embed([[2, 9, 3]])
    batched = engine.embed([[2, 9, 3], [2, *[8] * 20, 3]])[0]
    assert alone == pytest.approx(batched, abs=1e-5)


def test_dense_modules_follow_pooling(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    pooled = vectors(folder, TEXTS)
    (folder / "2_Dense").mkdir()
    swap = np.eye(16, dtype=np.float32)[::-1][:6].copy()
    save_file({"linear.weight": swap}, folder / "2_Dense" / "model.safetensors")
    config = {
        "in_features": 16, "out_features": 6, "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }  # fmt: skip
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps([
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Dense", "path": "2_Dense"},
    ]))  # fmt: skip
    expected = pooled[:, ::-1][:, :6]
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors(folder, TEXTS) == pytest.approx(expected, abs=1e-5)


def test_a_shipped_graph_gives_the_same_vectors(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    built = vectors(folder, TEXTS)
    ship(folder)
    assert vectors(folder, TEXTS) == pytest.approx(built, abs=1e-5)


def ship(folder: Path) -> None:
    """Replace the safetensors of the folder by an IR file of the encoder's last hidden state."""
    from fleet_server.engines.openvino.encoder import architecture, graph
    from fleet_server.engines.openvino.encoder.tensors import EncoderTensors

    arch = architecture.read(json.loads((folder / "config.json").read_text()))
    encoder = graph.build(
        arch, EncoderTensors.open([folder / "model.safetensors"]), with_types=True
    )
    model = ov.Model([encoder.hidden], encoder.inputs, "tiny")
    for port, name in zip(
        model.inputs, ("input_ids", "attention_mask", "token_type_ids"), strict=True
    ):
        port.set_names({name})
    model.output(0).set_names({"last_hidden_state"})
    (folder / "openvino").mkdir()
    ov.save_model(model, folder / "openvino" / "openvino_model.xml", compress_to_fp16=False)
    (folder / "model.safetensors").unlink()


def test_many_threads_may_call_at_once(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    batches = [engine.tokenize([text]) for text in TEXTS] * 8
    expected = [engine.embed(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(engine.embed, batches))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_passes_in_lanes_give_the_same_vectors(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 2)
    batches = [engine.tokenize([f"w{n}", f"w{n} w1 w2"]) for n in range(1, 40)]
    alone = [engine.embed(batch) for batch in batches]
    assert (engine.lanes, engine.most_lanes) == (1, 2)
    for _ in range(2):
        assert engine.embed_concurrent(batches[0]) == pytest.approx(alone[0], abs=1e-5)
        until(lambda: engine.lanes == 2)
        with ThreadPoolExecutor(8) as pool:
            running = pool.map(engine.embed_concurrent, batches)
            engine.release()
            for found, expected in zip(running, alone, strict=True):
                assert found == pytest.approx(expected, abs=1e-5)
    engine.close()
    assert engine.lanes == 1
    with pytest.raises(RuntimeError, match="closed"):
        engine.embed_concurrent(batches[0])


def test_only_one_graph_stays_in_memory(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 2)
    graphs = engine._executor
    assert isinstance(graphs, executor.GraphExecutor)
    batches = [engine.tokenize([f"w{n}", f"w{n} w1 w2"]) for n in range(1, 40)]
    alone = [engine.embed(batch) for batch in batches]
    for _ in range(2):
        engine.embed_concurrent(batches[0])
        until(lambda: graphs._request is None)
        with ThreadPoolExecutor(8) as pool:
            running = pool.map(engine.embed, batches)
            engine.release()
            for found, expected in zip(running, alone, strict=True):
                assert found == pytest.approx(expected, abs=1e-5)
        assert (graphs._free, engine.lanes) == (None, 1)
        assert graphs._request is not None
    engine.embed_concurrent(batches[0])
    engine.close()
    assert graphs._request is None
    with pytest.raises(RuntimeError, match="closed"):
        engine.embed(batches[0])


def test_all_lanes_are_warmed_at_once_before_they_are_used(
    tiny_encoder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[list[Any]] = []
    lanes_before: list[int] = []
    warm = executor.GraphExecutor._warm

    def watched(self: executor.GraphExecutor, requests: Any) -> None:
        lanes_before.append(self.lanes)
        warm(self, requests)
        warmed.append([request.get_output_tensor(0).shape[0] for request in requests])

    monkeypatch.setattr(executor.GraphExecutor, "_warm", watched)
    engine = EmbeddingEngine(spec(), tiny_encoder(), 3)
    engine.embed_concurrent([[2, 5, 3]])
    until(lambda: engine.lanes == 3)
    assert lanes_before == [1]
    assert warmed == [[executor.WARM_ITEMS] * 3]
    engine.close()


def test_one_thread_and_large_models_have_one_lane(
    tiny_encoder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_encoder()
    single = EmbeddingEngine(spec(), folder, 1)
    assert (single.lanes, single.most_lanes) == (1, 1)
    monkeypatch.setattr(executor, "LANES_BELOW_BYTES", 1000)
    large = EmbeddingEngine(spec(), folder, 4)
    assert (large.lanes, large.most_lanes) == (1, 1)
    assert np.linalg.norm(large.embed_concurrent([[2, 5, 3]])) == pytest.approx(1, abs=1e-6)
    large.close()
    with pytest.raises(RuntimeError, match="closed"):
        large.embed_concurrent([[2, 5, 3]])


def test_a_closed_engine_raises_an_error(tiny_encoder: Write) -> None:
    engine = EmbeddingEngine(spec(), tiny_encoder(), 1)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.embed([[2, 3]])


def test_errors_name_missing_and_unknown_parts(
    tiny_encoder: Write, encoder_tensors: EncoderTensors
) -> None:
    name = "encoder.layer.1.output.dense.weight"
    lacking = {key: array for key, array in encoder_tensors().items() if key != name}
    refuses(tiny_encoder(lacking), name)
    extra = encoder_tensors() | {
        "encoder.layer.0.adapter.down.weight": np.zeros((2, 2), np.float32)
    }
    refuses(tiny_encoder(extra), "encoder.layer.0.adapter.down.weight")
    deeper = encoder_tensors() | {"encoder.layer.2.output.dense.bias": np.zeros(16, np.float32)}
    refuses(tiny_encoder(deeper), "encoder.layer.2.output.dense.bias")
    refuses(tiny_encoder(hidden_size=32), "word_embeddings")
    refuses(tiny_encoder(model_type="gpt2"), "gpt2")
    refuses(tiny_encoder(hidden_act="mish"), "mish")
    refuses(tiny_encoder(position_embedding_type="relative_key"), "relative_key")
    refuses(tiny_encoder(num_hidden_layers="2"), "num_hidden_layers")


def test_the_spec_must_fit_the_model(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    refuses(folder, "25", context_length=25)
    refuses(folder, "8", dimensions=8)
    assert EmbeddingEngine(spec(context_length=10), folder, 1).max_tokens == 10


def test_broken_files_are_named(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    whole = (folder / "model.safetensors").read_bytes()
    for broken in (b"", whole[:4], whole[:100], whole[:-50], b"\xff" * 200):
        (folder / "model.safetensors").write_bytes(broken)
        refuses(folder, "model.safetensors")
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "tokenizer.json").write_text("{}")
    refuses(folder, "tokenizer.json")
    (folder / "tokenizer.json").unlink()
    refuses(folder, "tokenizer.json")


def refuses(folder: Path, words: str, **fields: Any) -> None:
    with pytest.raises(LoadError, match=words):
        EmbeddingEngine(spec(**fields), folder, 1)
