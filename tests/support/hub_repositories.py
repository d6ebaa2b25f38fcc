"""Tiny random repositories with the file layout and configuration of the public ones.

They contain all files of the public repository (tests/data/hub_listings.json); files that must not
be fetched have filler as content. Widths and layers are reduced, except the length of embeddings,
which is in the catalog; the keys of configurations are the real ones. Written with NumPy,
safetensors, tokenizers and onnx.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LISTINGS = Path(__file__).parents[1] / "data" / "hub_listings.json"
FILLER = b"\x80\x04not for Modelfleet"
"""Starts like a pickle: a file that must never be opened."""
TEXT = [
    "The cat sits outside and the dog sleeps by the river in the evening.",
    "What is the capital of France? Paris is the capital of France.",
    "one two three four five six seven eight nine ten",
]

Array = NDArray[np.float32]


def listing(repo: str) -> dict[str, Any]:
    """`files` of the public repository, and the contents of its `documents`."""
    found: dict[str, Any] = json.loads(LISTINGS.read_text())["repositories"][repo]
    return found


def llama(folder: Path, repo: str = "meta-llama/Llama-3.2-1B-Instruct") -> Path:
    """Llama 3.2: tied embeddings, grouped-query attention, scaled rotary positions, bfloat16 in
    the configuration and float32 on disk."""
    specials = [
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eom_id|>", "<|eot_id|>",
    ]  # fmt: skip
    tokenizer = _byte_level(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))],
    )
    vocab, hidden, layers, heads, kv, inner = tokenizer.get_vocab_size(), 64, 2, 4, 2, 128
    head = hidden // heads
    ends = [tokenizer.token_to_id(name) for name in ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")]
    config = listing(repo)["documents"]["config.json"] | {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "head_dim": head, "intermediate_size": inner,
        "vocab_size": vocab, "torch_dtype": "float32",
        "bos_token_id": tokenizer.token_to_id("<|begin_of_text|>"), "eos_token_id": ends,
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,),
    }  # fmt: skip
    for layer in range(layers):
        base = f"model.layers.{layer}."
        shapes |= {
            f"{base}self_attn.q_proj.weight": (heads * head, hidden),
            f"{base}self_attn.k_proj.weight": (kv * head, hidden),
            f"{base}self_attn.v_proj.weight": (kv * head, hidden),
            f"{base}self_attn.o_proj.weight": (hidden, heads * head),
            f"{base}mlp.gate_proj.weight": (inner, hidden),
            f"{base}mlp.up_proj.weight": (inner, hidden),
            f"{base}mlp.down_proj.weight": (hidden, inner),
            f"{base}input_layernorm.weight": (hidden,),
            f"{base}post_attention_layernorm.weight": (hidden,),
        }
    _fill(folder, repo)
    _weights(folder / "model.safetensors", shapes)
    tokenizer.save(str(folder / "tokenizer.json"))
    _documents(folder, {
        "config.json": config,
        "generation_config.json": {
            "bos_token_id": config["bos_token_id"], "eos_token_id": ends, "do_sample": True,
            "temperature": 0.6, "top_p": 0.9,
        },
        "tokenizer_config.json": {
            "bos_token": specials[0], "eos_token": "<|eot_id|>", "chat_template": LLAMA_TEMPLATE,
            "model_max_length": 131072, "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "special_tokens_map.json": {"bos_token": specials[0], "eos_token": "<|eot_id|>"},
    })  # fmt: skip
    return folder


LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}"
    "<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def whisper(folder: Path, tokenizer: Path, repo: str = "openai/whisper-tiny") -> Path:
    """Whisper tiny, multilingual. `tokenizer` is OpenAI's tokenizer.json of 51865 tokens."""
    content = json.loads(tokenizer.read_text())
    ids = {token["content"]: token["id"] for token in content["added_tokens"]}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    hidden, layers, heads, inner, mels = 16, 2, 2, 32, 80
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end,
               "decoder_start_token_id": start}  # fmt: skip
    config = listing(repo)["documents"]["config.json"] | {
        "d_model": hidden, "encoder_layers": layers, "decoder_layers": layers,
        "encoder_attention_heads": heads, "decoder_attention_heads": heads,
        "encoder_ffn_dim": inner, "decoder_ffn_dim": inner, "num_mel_bins": mels,
        "vocab_size": 51865, "max_source_positions": 1500, "max_target_positions": 448,
        "activation_function": "gelu", "scale_embedding": False, "torch_dtype": "float32",
        "begin_suppress_tokens": [220, end], **special,
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "model.encoder.conv1.weight": (hidden, mels, 3), "model.encoder.conv1.bias": (hidden,),
        "model.encoder.conv2.weight": (hidden, hidden, 3), "model.encoder.conv2.bias": (hidden,),
        "model.encoder.embed_positions.weight": (1500, hidden),
        "model.decoder.embed_tokens.weight": (51865, hidden),
        "model.decoder.embed_positions.weight": (448, hidden),
    }  # fmt: skip
    for side in ("encoder", "decoder"):
        norms = ["layer_norm"]
        for layer in range(layers):
            base = f"layers.{layer}."
            attentions = ["self_attn"] if side == "encoder" else ["self_attn", "encoder_attn"]
            for attention in attentions:
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    name = f"model.{side}.{base}{attention}.{part}"
                    shapes[f"{name}.weight"] = (hidden, hidden)
                    if part != "k_proj":
                        shapes[f"{name}.bias"] = (hidden,)
                norms.append(f"{base}{attention}_layer_norm")
            norms.append(f"{base}final_layer_norm")
            shapes |= {
                f"model.{side}.{base}fc1.weight": (inner, hidden),
                f"model.{side}.{base}fc1.bias": (inner,),
                f"model.{side}.{base}fc2.weight": (hidden, inner),
                f"model.{side}.{base}fc2.bias": (hidden,),
            }
        for norm in norms:
            shapes |= {f"model.{side}.{norm}.weight": (hidden,),
                       f"model.{side}.{norm}.bias": (hidden,)}  # fmt: skip
    languages = {name: ids[name] for name in ids if start < ids[name] < ids["<|translate|>"]}
    _fill(folder, repo)
    _weights(folder / "model.safetensors", shapes)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    model = content["model"]
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(
            merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]
        )
    )  # fmt: skip
    _documents(folder, {
        "config.json": config,
        "vocab.json": model["vocab"],
        "added_tokens.json": ids,
        "generation_config.json": {
            "alignment_heads": [[1, 0], [1, 1]], "is_multilingual": True,
            "lang_to_id": languages, "max_initial_timestamp_index": 50, "max_length": 448,
            "no_timestamps_token_id": ids["<|notimestamps|>"],
            "prev_sot_token_id": ids["<|startofprev|>"], "suppress_tokens": [],
            "begin_suppress_tokens": [220, end],
            "task_to_id": {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
            **special,
        },
        "preprocessor_config.json": {
            "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": mels, "hop_length": 160, "n_fft": 400, "n_samples": 480000,
            "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
            "processor_class": "WhisperProcessor", "return_attention_mask": False,
            "sampling_rate": 16000,
        },
        "tokenizer_config.json": {"model_max_length": 1024, "tokenizer_class": "WhisperTokenizer"},
        "special_tokens_map.json": {"eos_token": "<|endoftext|>"},
        "normalizer.json": {},
    })  # fmt: skip
    return folder


def embeddinggemma(folder: Path, repo: str = "google/embeddinggemma-300m") -> Path:
    """EmbeddingGemma: a bidirectional Gemma 3 encoder, mean pooling, two dense layers."""
    tokenizer = _byte_level(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<bos>", "<eos>")],
    )
    vocab, hidden, layers, heads, kv, head, inner = tokenizer.get_vocab_size(), 32, 2, 2, 1, 16, 64
    config = listing(repo)["documents"]["config.json"] | {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "head_dim": head, "intermediate_size": inner,
        "vocab_size": vocab, "query_pre_attn_scalar": head, "pad_token_id": 0, "bos_token_id": 2,
        "eos_token_id": 1, "rms_norm_eps": 1e-6,
        "layer_types": ["sliding_attention", "full_attention"], "torch_dtype": "float32",
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (vocab, hidden), "norm.weight": (hidden,),
    }  # fmt: skip
    for layer in range(layers):
        base = f"layers.{layer}."
        shapes |= {
            f"{base}self_attn.q_proj.weight": (heads * head, hidden),
            f"{base}self_attn.k_proj.weight": (kv * head, hidden),
            f"{base}self_attn.v_proj.weight": (kv * head, hidden),
            f"{base}self_attn.o_proj.weight": (hidden, heads * head),
            f"{base}self_attn.q_norm.weight": (head,),
            f"{base}self_attn.k_norm.weight": (head,),
            f"{base}mlp.gate_proj.weight": (inner, hidden),
            f"{base}mlp.up_proj.weight": (inner, hidden),
            f"{base}mlp.down_proj.weight": (hidden, inner),
        }
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{base}{norm}_layernorm.weight"] = (hidden,)
    _fill(folder, repo)
    _weights(folder / "model.safetensors", shapes)
    sizes = {"2_Dense": (hidden, 2 * hidden), "3_Dense": (2 * hidden, 768)}
    for name, (into, out) in sizes.items():
        _weights(folder / name / "model.safetensors", {"linear.weight": (out, into)})
        _documents(folder / name, {"config.json": {
            "in_features": into, "out_features": out, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }})  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))
    _documents(folder, {
        "config.json": config,
        "modules.json": listing(repo)["documents"]["modules.json"],
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden, "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True, "include_prompt": True,
        },
        "sentence_bert_config.json": {"max_seq_length": 2048, "do_lower_case": False},
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine", "prompts": {}},
        "generation_config.json": {}, "added_tokens.json": {},
        "special_tokens_map.json": {}, "tokenizer_config.json": {"model_max_length": 2048},
    })  # fmt: skip
    return folder


def bge_m3(folder: Path, repo: str = "BAAI/bge-m3") -> Path:
    """BGE-M3: pickles, and an ONNX graph with its weights in model.onnx_data and in a file named
    after an attribute of a Constant node.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")],
    )
    vocab, hidden = tokenizer.get_vocab_size(), 1024
    config = listing(repo)["documents"]["config.json"] | {
        "num_hidden_layers": 1, "vocab_size": vocab, "pad_token_id": 1, "bos_token_id": 0,
        "eos_token_id": 2, "type_vocab_size": 1,
    }  # fmt: skip
    table, scale = _random((vocab, hidden)), _random((hidden,))
    words = numpy_helper.from_array(table, "words")
    constant = numpy_helper.from_array(scale, "scale")
    nodes = [
        helper.make_node("Constant", [], ["scale"], "Constant_7", value=constant),
        helper.make_node("Gather", ["words", "input_ids"], ["looked_up"]),
        helper.make_node("Mul", ["looked_up", "scale"], ["scaled"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["scaled", "wide_mask"], ["masked"]),
        helper.make_node("ReduceMean", ["masked"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["masked", "mean"], ["token_embeddings"]),
        helper.make_node(
            "ReduceMean", ["token_embeddings"], ["sentence_embedding"], axes=[1], keepdims=0
        ),
    ]
    graph = helper.make_graph(
        nodes, "main_graph",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
         for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(
            "token_embeddings", TensorProto.FLOAT, ["batch_size", "sequence_length", hidden]),
         helper.make_tensor_value_info(
            "sentence_embedding", TensorProto.FLOAT, ["batch_size", hidden])],
        [words, numpy_helper.from_array(np.array([-1], np.int64), "last")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    _fill(folder, repo)
    _external(model.graph.initializer[0], table, folder / "onnx" / "model.onnx_data")
    value = next(node for node in model.graph.node if node.name == "Constant_7").attribute[0].t
    _external(value, scale, folder / "onnx" / "Constant_7_attr__value")
    onnx.save_model(model, str(folder / "onnx" / "model.onnx"))
    documents = listing(repo)["documents"]
    for home in ("", "onnx/"):
        tokenizer.save(str(folder / home / "tokenizer.json"))
        _documents(folder, {
            f"{home}config.json": config, f"{home}special_tokens_map.json": {},
            f"{home}tokenizer_config.json": {"model_max_length": 8192},
        })  # fmt: skip
    _documents(folder, {
        "modules.json": documents["modules.json"],
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden, "pooling_mode_cls_token": True,
            "pooling_mode_mean_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": 8192, "do_lower_case": False},
        "config_sentence_transformers.json": {},
    })  # fmt: skip
    return folder


def filled(folder: Path, repo: str) -> Path:
    """Write every file of the public repository: known documents, and filler for the others."""
    _fill(folder, repo)
    _documents(folder, listing(repo).get("documents", {}))
    return folder


def _external(tensor: Any, values: Array, file: Path) -> None:
    """Store a tensor's bytes in a separate file, as external data of ONNX."""
    file.write_bytes(values.tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in {"location": file.name, "offset": "0", "length": str(values.nbytes)}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _byte_level(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def _fill(folder: Path, repo: str) -> None:
    """Write every file of the public repository with filler as content."""
    for name in listing(repo)["files"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}" if name.endswith(".json") else FILLER)


def _weights(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    tensors = {name: _random(shape, around=float("norm" in name and name.endswith("weight")))
               for name, shape in shapes.items()}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})


def _random(shape: tuple[int, ...], around: float = 0.0) -> Array:
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) * 0.3 + around).astype(np.float32)


def _documents(folder: Path, contents: dict[str, Any]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
