"""The tiny encoder of tiny_bert as a GGUF file with float32 weights, as llama.cpp converts BERT."""

from __future__ import annotations

from pathlib import Path

import gguf

from support import tiny_bert


def write(path: Path, pooling: gguf.PoolingType) -> Path:
    """Write the weights of `tiny_bert.bert_tensors`, with the vocabulary of its tokenizer."""
    config = tiny_bert.bert_config()
    writer = gguf.GGUFWriter(path, "bert")
    for name, value in {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"], "head_count": config["num_attention_heads"],
        "layer_norm_eps": config["layer_norm_eps"], "causal_attention": False,
        "vocab_size": config["vocab_size"], "pooling_type": pooling,
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    _write_tokenizer(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, values in tiny_bert.bert_tensors().items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert known is not None, name
        writer.add_tensor(known, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    """WordPiece, in which the beginning of a word is marked instead of its continuation."""
    words = [f"\u2581{word}" for word in tiny_bert.WORDS]
    kinds = [gguf.TokenType.CONTROL] * len(tiny_bert.SPECIALS)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(tiny_bert.bert_config()["type_vocab_size"])
    writer.add_token_list([*tiny_bert.SPECIALS, *words])
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * len(words)])
    for name, text in {
        "pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]", "sep": "[SEP]",
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}_token_id")(tiny_bert.SPECIALS.index(text))
