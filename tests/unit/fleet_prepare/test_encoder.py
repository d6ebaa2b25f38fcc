"""Which repositories the openvino encoder engine serves, from listings of the public ones."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_prepare.encoder import graph_refusal, refusal, shipped_graph, supports

BASE = ["config.json", "tokenizer.json", "tokenizer_config.json"]
GEMMA = {"model_type": "gemma3_text", "use_bidirectional_attention": True,
         "hidden_activation": "gelu_pytorch_tanh", "rope_scaling": None}  # fmt: skip
NOMIC = {"model_type": "nomic_bert", "activation_function": "swiglu", "rotary_emb_fraction": 1.0,
         "rotary_emb_interleaved": False, "rotary_scaling_factor": None, "prenorm": False,
         "causal": False, "rotary_emb_scale_base": None}  # fmt: skip
MODERN = {"model_type": "modernbert", "hidden_activation": "gelu", "local_attention": 128}
XLM = {"model_type": "xlm-roberta", "hidden_act": "gelu"}
BERT = {"model_type": "bert", "hidden_act": "gelu"}


@pytest.mark.parametrize(
    ("files", "config", "built"),
    [
        (["model.safetensors", "2_Dense/model.safetensors"], GEMMA, "gemma3_text"),
        (["model.safetensors", "onnx/model.onnx"], NOMIC, "nomic_bert"),
        (["model.safetensors", "onnx/model.onnx"], MODERN, "modernbert"),
        (["model.safetensors"], XLM, "xlm-roberta"),
        (["model.safetensors", "openvino/openvino_model.xml", "onnx/model.onnx"], BERT, "bert"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], BERT, "bert"),
    ],
)
def test_graphs_built_from_safetensors(
    files: list[str], config: dict[str, Any], built: str
) -> None:
    assert supports(BASE + files, config) == f"its {built} graph is built from the safetensors"
    assert shipped_graph(BASE + files, config) is None


def test_bge_m3_by_its_onnx_graph() -> None:
    files = [*BASE, "onnx/model.onnx", "onnx/model.onnx_data", "onnx/Constant_7_attr__value",
             "pytorch_model.bin"]  # fmt: skip
    assert supports(files, XLM) == "the repo ships onnx/model.onnx"
    assert shipped_graph(files, XLM) == "onnx/model.onnx"


@pytest.mark.parametrize(
    ("files", "config", "why"),
    [
        ([*BASE, "pytorch_model.bin"], XLM, "no model.safetensors and no openvino/"),
        (["config.json", "model.safetensors"], XLM, "no tokenizer.json"),
        ([*BASE, "model.safetensors"], {}, "no config.json"),
        ([*BASE, "model.safetensors"], {"model_type": "electra"}, "'electra' is not supported"),
        ([*BASE, "model.safetensors"], {"model_type": ["bert"]}, "is not supported"),
        ([*BASE, "2_Dense/model.safetensors"], GEMMA, "no model.safetensors"),
    ],
)
def test_unsupported_repositories_have_a_reason(
    files: list[str], config: dict[str, Any], why: str
) -> None:
    assert why in str(refusal(files, config))
    assert supports(files, config) is None


def test_a_shipped_graph_serves_any_family() -> None:
    files = [*BASE, "model.safetensors", "onnx/model.onnx"]
    assert supports(files, {"model_type": "electra"}) == "the repo ships onnx/model.onnx"


@pytest.mark.parametrize(
    "config",
    [
        GEMMA | {"use_bidirectional_attention": False},
        GEMMA | {"attn_logit_softcapping": 50.0},
        GEMMA | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        GEMMA | {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
        NOMIC | {"moe_every_n_layers": 2, "num_experts": 8},
        NOMIC | {"rotary_scaling_factor": 2},
        NOMIC | {"activation_function": "gelu"},
        NOMIC | {"prenorm": True},
        MODERN | {"hidden_activation": "mish"},
        MODERN | {"hidden_activation": ["gelu"]},
        BERT | {"is_decoder": True},
        BERT | {"position_embedding_type": "relative_key"},
        BERT | {"quantization_config": {"quant_method": "fp8"}},
    ],
)
def test_fields_no_graph_is_built_for(config: dict[str, Any]) -> None:
    assert graph_refusal(config) is not None


def test_newer_spellings_of_rotary_positions() -> None:
    default = {"rope_type": "default", "rope_theta": 1e6}
    assert graph_refusal(GEMMA | {"rope_parameters": {"full_attention": default}}) is None
    assert graph_refusal(NOMIC | {"rope_parameters": default}) is None
