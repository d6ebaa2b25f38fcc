"""Renders vectors as JSON, truncated and scaled as requested."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

import numpy as np
import orjson

from fleet_server.protocols import Float32

LARGEST = 32760.0
"""The value that llama.cpp scales the largest one to if `embd_normalize` is 0."""


def cut(vectors: Float32, dimensions: int) -> Float32:
    """The first `dimensions` values of each row, normalised again (Kusupati et al., "Matryoshka
    Representation Learning")."""
    shorter: Float32 = vectors[:, :dimensions].copy()
    shorter /= np.maximum(np.linalg.norm(shorter, axis=1, keepdims=True), np.float32(1e-12))
    return shorter


def scale(vectors: Float32, normalize: int) -> Float32:
    """Rows scaled as in llama.cpp's `embd_normalize`: 0 (largest value), or 1, 2 or a higher
    p-norm."""
    if normalize == 2:
        return vectors
    wide = vectors.astype(np.float64)
    if normalize == 0:
        norms = np.abs(wide).max(axis=1, keepdims=True) / LARGEST
    else:
        norms = np.linalg.norm(wide, ord=normalize, axis=1, keepdims=True)
    scaled: Float32 = (wide / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def openai_json(vectors: Float32, encoding: str, model: str, tokens: int) -> bytes:
    """OpenAI's list of embeddings; base64 encodes little-endian float32."""
    tail: dict[str, Any] = {
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if encoding == "base64":
        data = _base64_items(np.ascontiguousarray(vectors, dtype="<f4"))
    else:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        data = orjson.dumps(
            [
                {"object": "embedding", "index": index, "embedding": row}
                for index, row in enumerate(rows)
            ],
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
    return b'{"object":"list","data":' + data + b"," + orjson.dumps(tail)[1:]


def native_json(vectors: Float32) -> bytes:
    """llama.cpp's list; the embedding of an input is a list of vectors, here always one."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    items = [{"index": index, "embedding": [row]} for index, row in enumerate(rows)]
    return orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)


def _base64_items(vectors: Float32) -> bytes:
    # Base64 needs no JSON escaping, so the items are formatted as bytes, faster than with orjson.
    return (
        b"["
        + b",".join(
            b'{"object":"embedding","index":%d,"embedding":"%s"}'
            % (index, b2a_base64(row.data, newline=False))
            for index, row in enumerate(vectors)
        )
        + b"]"
    )
