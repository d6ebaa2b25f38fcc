"""A GGUF with further layers that add nothing: the texts of a small model at the cost of a larger.

Output matrices of attention and MLP are zero in the new layers, which are otherwise copies of the
first one, so that each passes on its input. Needs gguf.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

ZERO = ("attn_output", "ffn_down")


def write(source: Path, path: Path, layers: int) -> Path:
    """Write the model at `source`, of the architecture Llama, with so many layers in all."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "llama")
    own = 0
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value: Any = field.contents()
        if name == "llama.block_count":
            own, value = int(value), layers
        kind, *inner = field.types
        writer.add_key_value(name, value, kind, inner[-1] if inner else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        head, first, rest = tensor.name.partition("blk.0.")
        if not first or head:
            continue
        # A block of zeros in bytes is one of zeros in numbers, in all formats.
        data = np.zeros_like(tensor.data) if rest.startswith(ZERO) else tensor.data
        for number in range(own, layers):
            writer.add_tensor(f"blk.{number}.{rest}", data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
