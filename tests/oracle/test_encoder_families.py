"""Encoders of the catalog with tiny random weights against transformers, with the files and configs
of their public repositories.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertModel,
    NomicBertConfig,
    NomicBertModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from fleet_contract.spec import ModelSpec
from fleet_prepare.encoder import supports
from fleet_server.engines.openvino.encoder import EmbeddingEngine, RerankEngine

CORPUS = [
    "query: how are batches of tokens padded",
    "passage: The quick brown fox jumps over the lazy dog near the river bank.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Les systèmes modernes regroupent les requêtes par leur longueur.",
]
LENGTHS = (3, 8, 9, 17, 33, 60)
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
XLM = ("<s>", "<pad>", "</s>", "<unk>")
BERT_PAIR = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
XLM_PAIR = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")
Reference = Callable[[torch.Tensor], torch.Tensor]

NOMIC: dict[str, Any] = {
    "activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0,
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
    "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0,
    "eos_token_id": None, "fused_bias_fc": True, "fused_dropout_add_ln": True,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-12, "max_trained_positions": 2048,
    "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert", "n_embd": 48,
    "n_head": 4, "n_inner": 96, "n_layer": 3, "n_positions": 64, "pad_vocab_size_multiple": 64,
    "parallel_block": False, "parallel_block_tied_norm": False, "prenorm": False,
    "qkv_proj_bias": False, "reorder_and_upcast_attn": False, "resid_pdrop": 0.0,
    "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True,
    "torch_dtype": "float32", "type_vocab_size": 2, "use_cache": True, "use_flash_attn": True,
    "use_rms_norm": False, "use_xentropy": True, "vocab_size": 320,
}  # fmt: skip
"""nomic-ai/nomic-embed-text-v1.5, with smaller sizes."""

MODERN: dict[str, Any] = {
    "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 2,
    "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
    "classifier_pooling": "mean", "cls_token_id": 2, "decoder_bias": True,
    "deterministic_flash_attn": False, "embedding_dropout": 0.0, "eos_token_id": 3,
    "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "hidden_activation": "gelu",
    "hidden_size": 48, "initializer_range": 0.02, "intermediate_size": 72, "layer_norm_eps": 1e-5,
    "local_attention": 16, "local_rope_theta": 10000.0, "max_position_embeddings": 64,
    "mlp_bias": False, "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-5,
    "num_attention_heads": 4, "num_hidden_layers": 4, "pad_token_id": 0, "sep_token_id": 3,
    "vocab_size": 320,
}  # fmt: skip
"""Alibaba-NLP/gte-modernbert-base and gte-reranker-modernbert-base, with smaller sizes."""


def small(**changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": 320, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 96,
    } | changes  # fmt: skip


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Weights with a variance at which every term of the graph matters."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.2)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


def write_json(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def write_tokenizer(folder: Path, specials: Sequence[str], pair: tuple[str, str]) -> None:
    tokenizer = Tokenizer(
        models.BPE(unk_token=next(each for each in specials if "nk" in each.lower()))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        CORPUS * 4, trainers.BpeTrainer(vocab_size=300, special_tokens=list(specials))
    )
    known = [(token, specials.index(token)) for token in specials]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=pair[0], pair=pair[1], special_tokens=known
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, pooling: str, *, normalize: bool, longest: int = 64) -> None:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(folder, {
        "modules.json": [{"idx": place, "name": str(place), "path": paths[place],
                          "type": f"sentence_transformers.models.{kind}"}
                         for place, kind in enumerate(kinds)],
        "1_Pooling/config.json": {"word_embedding_dimension": 48,
                                  f"pooling_mode_{pooling}": True},
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
    })  # fmt: skip


def spec(task: str) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny", "task": task, "dtype": "float32"})


def batch(first: int, last: int) -> list[list[int]]:
    random = np.random.default_rng(8)
    return [[first, *random.integers(4, 300, length - 2).tolist(), last] for length in LENGTHS]


def check_vectors(folder: Path, inputs: Iterable[list[int]], expected: Reference) -> None:
    """Each alone, and all padded in one batch."""
    engine = EmbeddingEngine(spec("embedding"), folder, 2)
    inputs = list(inputs)
    together = engine.embed(inputs)
    for ids, vector in zip(inputs, together, strict=True):
        with torch.inference_mode():
            wanted = expected(torch.tensor([ids]))[0].numpy()
        wanted = wanted / np.linalg.norm(wanted)
        assert float(vector @ wanted) > 0.999999
        assert float(engine.embed([ids])[0] @ wanted) > 0.999999


def nomic_model() -> torch.nn.Module:
    config = NomicBertConfig(**small(
        max_position_embeddings=64, layer_norm_eps=1e-12,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
    ))  # fmt: skip
    return randomised(NomicBertModel(config))


def nomic_file(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors with the names of the public model.safetensors."""
    own = {
        "embeddings.LayerNorm": "emb_ln", "self_attn.o_proj": "attn.out_proj",
        "up_proj": "fc11", "gate_proj": "fc12", "down_proj": "fc2",
        "post_attention_layernorm": "norm1", "post_mlp_layernorm": "norm2",
    }  # fmt: skip
    made: dict[str, torch.Tensor] = {}
    fused: dict[str, list[torch.Tensor]] = {}
    for name, tensor in model.state_dict().items():
        for new, old in own.items():
            name = name.replace(new, old)
        name = f"encoder.{name}" if name.startswith("layers.") else name
        if "self_attn." in name:
            base = name.partition("self_attn.")[0]
            fused.setdefault(f"{base}attn.Wqkv.weight", []).append(tensor)
        else:
            made[name] = tensor.clone()
    return made | {name: torch.cat(parts) for name, parts in fused.items()}


@pytest.mark.parametrize("spelling", ["public", "transformers"])
def test_nomic_embed_text(tmp_path: Path, spelling: str) -> None:
    model = nomic_model()
    if spelling == "public":
        tensors = nomic_file(model)
        assert "encoder.layers.0.attn.Wqkv.weight" in tensors
        save_file(tensors, tmp_path / "model.safetensors")
        write_json(tmp_path, {"config.json": NOMIC})
    else:
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        model.config.to_json_file(tmp_path / "config.json")
    write_tokenizer(tmp_path, BERT, BERT_PAIR)
    write_modules(tmp_path, "mean_tokens", normalize=False)
    for name in ("modeling_hf_nomic_bert.py", "onnx/model.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit")
    check_vectors(tmp_path, batch(2, 3), lambda ids: model(input_ids=ids).last_hidden_state.mean(1))


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_gte_modernbert(tmp_path: Path, stored: torch.dtype) -> None:
    model = randomised(ModernBertModel(ModernBertConfig(**MODERN))).to(stored)
    model.save_pretrained(tmp_path)
    write_json(tmp_path, {"config.json": MODERN | {"architectures": ["ModernBertModel"]}})
    write_tokenizer(tmp_path, BERT, BERT_PAIR)
    write_modules(tmp_path, "cls_token", normalize=False)
    model.float()
    check_vectors(tmp_path, batch(2, 3), lambda ids: model(input_ids=ids).last_hidden_state[:, 0])


def test_modernbert_with_a_head_of_pretraining(tmp_path: Path) -> None:
    """answerdotai/ModernBERT-base: names start with `model.`, and the decoder is not used."""
    model = randomised(ModernBertModel(ModernBertConfig(**MODERN)))
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    more = {"head.dense.weight": torch.zeros(48, 48), "head.norm.weight": torch.zeros(48),
            "decoder.bias": torch.zeros(320)}  # fmt: skip
    save_file(tensors | more, tmp_path / "model.safetensors")
    write_json(tmp_path, {"config.json": MODERN | {"architectures": ["ModernBertForMaskedLM"]}})
    write_json(tmp_path, {"tokenizer_config.json": {"model_max_length": 64}})
    write_tokenizer(tmp_path, BERT, BERT_PAIR)
    check_vectors(tmp_path, batch(2, 3), lambda ids: model(input_ids=ids).last_hidden_state.mean(1))


def test_multilingual_e5_small(tmp_path: Path) -> None:
    """BERT's layers with the tokenizer of XLM-RoBERTa, whose padding id differs from BERT's."""
    config = BertConfig(**small(
        max_position_embeddings=64, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0,
        tokenizer_class="XLMRobertaTokenizer", position_embedding_type="absolute",
    ))  # fmt: skip
    model = randomised(BertModel(config))
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, XLM, XLM_PAIR)
    write_modules(tmp_path, "mean_tokens", normalize=True)
    check_vectors(tmp_path, batch(0, 2), lambda ids: model(input_ids=ids).last_hidden_state.mean(1))


def check_scores(folder: Path, model: torch.nn.Module, *, types: bool = False) -> None:
    engine = RerankEngine(spec("rerank"), folder, 2)
    pairs = engine.tokenize_pairs(CORPUS[0], CORPUS[1:])
    wanted = []
    for ids in pairs:
        given = {"input_ids": torch.tensor([ids])}
        if types:
            boundary = ids.index(3) + 1
            given["token_type_ids"] = torch.tensor([[0] * boundary + [1] * (len(ids) - boundary)])
        with torch.inference_mode():
            wanted.append(float(model(**given).logits[0, 0]))
    assert np.ptp(wanted) > 0.1
    assert engine.score(pairs) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_bge_reranker_v2_m3(tmp_path: Path) -> None:
    model = randomised(XLMRobertaForSequenceClassification(XLMRobertaConfig(**small(
        max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, num_labels=1, output_past=True,
    ))))  # fmt: skip
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, XLM, XLM_PAIR)
    write_json(tmp_path, {"tokenizer_config.json": {"model_max_length": 64}})
    check_scores(tmp_path, model)


@pytest.mark.parametrize(
    "activation",
    [
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity",
                                   "version": "4.1.0"}},
    ],
)  # fmt: skip
def test_ms_marco_minilm(tmp_path: Path, activation: dict[str, Any]) -> None:
    """The repository also holds onnx/ and openvino/, which are not read; whether scores are logits
    or their sigmoid depends on the request, not on the config.
    """
    model = randomised(BertForSequenceClassification(BertConfig(**small(
        max_position_embeddings=64, type_vocab_size=2, num_labels=1, pad_token_id=0,
    ))))  # fmt: skip
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | activation
    write_json(tmp_path, {"config.json": config,
                          "tokenizer_config.json": {"model_max_length": 64}})  # fmt: skip
    write_tokenizer(tmp_path, BERT, BERT_PAIR)
    for name in ("onnx/model.onnx", "openvino/openvino_model.xml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    names = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")]
    assert supports(names, config) == "its bert graph is built from the safetensors"
    check_scores(tmp_path, model, types=True)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_gte_reranker_modernbert(tmp_path: Path, pooling: str) -> None:
    config = MODERN | {"classifier_pooling": pooling}
    model = randomised(
        ModernBertForSequenceClassification(ModernBertConfig(**config, num_labels=1))
    )
    model.save_pretrained(tmp_path)
    write_json(tmp_path, {"config.json": config | {"id2label": {"0": "LABEL_0"}},
                          "tokenizer_config.json": {"model_max_length": 64}})  # fmt: skip
    write_tokenizer(tmp_path, BERT, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"))
    check_scores(tmp_path, model)
