"""Tiny random models in the layout of a hub repository, with tokenizers trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

TEXT = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Modern serving systems batch requests by their number of tokens.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Les systèmes modernes regroupent les requêtes par leur longueur.",
]
SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
END = 2
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('who is ' + message['role'] + '?') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 400


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, as in Llama 3 and Qwen."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXT * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )  # fmt: skip


def shape(**changes: Any) -> dict[str, Any]:
    """Few and narrow layers; weights with a variance at which every term matters."""
    return {
        "vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
        "head_dim": 16, "max_position_embeddings": 512, "initializer_range": 0.2,
        "eos_token_id": END, "bos_token_id": None, "pad_token_id": 0, "tie_word_embeddings": False,
    } | changes  # fmt: skip


def like_qwen3_vl(
    hidden: int = 64, sections: tuple[int, int, int] = (4, 2, 2), **changes: Any
) -> Qwen3VLForConditionalGeneration:
    """`sections` are halves of a head's dimensions: for time, height and width."""
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": hidden,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1], "initializer_range": 0.2,
    }  # fmt: skip
    text = shape(hidden_size=hidden, **changes, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(sections),
        "mrope_interleaved": True,
    })  # fmt: skip
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, image_token_id=5, video_token_id=6,
        vision_start_token_id=3, vision_end_token_id=4, tie_word_embeddings=False,
    )  # fmt: skip
    return Qwen3VLForConditionalGeneration(config)


CHAT: dict[str, Callable[[], torch.nn.Module]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**shape())),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**shape())),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**shape(
            sliding_window=8, query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        ))
    ),
    "qwen3-vl": like_qwen3_vl,
}  # fmt: skip


def write_chat(folder: Path, kind: str, make: Callable[[], torch.nn.Module] | None = None) -> None:
    """`make` makes another model of the kind."""
    torch.manual_seed(len(kind))
    model = (make or CHAT[kind])()
    model.save_pretrained(folder)
    if kind != "qwen3-vl":
        tokenizer().save_pretrained(folder)
        return
    sizes = {"shortest_edge": 64, "longest_edge": 4096}
    grid = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=sizes, **grid),
        video_processor=Qwen3VLVideoProcessor(size=sizes, **grid),
        tokenizer=tokenizer(),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """More threads do not help with tiny tensors, and slow down tests that share few cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random chat model: llama, qwen3, gemma3 (sliding windows) or qwen3-vl."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            write_chat(made[kind], kind)
        return made[kind]

    return folder
