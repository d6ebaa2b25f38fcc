"""A chat model's context length and cache shape, from a GGUF's metadata or an IR's config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_prepare import gguf_head
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.openvino import chat_files


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Keys and values per token: `layers` times `heads` times `head_size` values of each."""

    layers: int
    heads: int
    head_size: int


@dataclass(frozen=True, slots=True)
class ChatFacts:
    """`context_length` in tokens; None for what the files do not give."""

    context_length: int | None
    cache: CacheShape | None


def read(source: Path) -> ChatFacts:
    """Facts of a GGUF or IR found by `chat_files.find`.

    An IR that OpenVINO wrote from a GGUF has no config.json; the GGUF is in the parent folder.
    """
    if source.is_dir() and (source / "config.json").is_file():
        return _of_config(read_object(source / "config.json"))
    files = chat_files.gguf_files(source.parent if source.is_dir() else source)
    found = gguf_head.metadata(files[0]) if len(files) == 1 else None
    return ChatFacts(None, None) if found is None else _of_gguf(found)


def _of_gguf(found: dict[str, gguf_head.Value]) -> ChatFacts:
    family = found.get("general.architecture")

    def number(name: str) -> int | None:
        return _positive(found.get(f"{family}.{name}"))

    heads = number("attention.head_count")
    return ChatFacts(
        number("context_length"),
        _shape(
            number("block_count"),
            heads,
            number("attention.head_count_kv"),
            number("attention.key_length"),
            number("embedding_length"),
        ),
    )


def _of_config(config: dict[str, Any]) -> ChatFacts:
    text = config.get("text_config")
    found = text if isinstance(text, dict) else config

    def number(name: str) -> int | None:
        return _positive(found.get(name))

    return ChatFacts(
        number("max_position_embeddings"),
        _shape(
            number("num_hidden_layers"),
            number("num_attention_heads"),
            number("num_key_value_heads"),
            number("head_dim"),
            number("hidden_size"),
        ),
    )


def _shape(
    layers: int | None, heads: int | None, kv_heads: int | None, size: int | None,
    hidden: int | None,
) -> CacheShape | None:  # fmt: skip
    if size is None and hidden is not None and heads is not None:
        size = hidden // heads
    kv_heads = kv_heads or heads
    if layers is None or kv_heads is None or not size:
        return None
    return CacheShape(layers, kv_heads, size)


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
