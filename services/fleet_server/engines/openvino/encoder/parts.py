"""The result of a graph builder, and checks of the tensors it used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet_server.engines.openvino.encoder.nodes import Node
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.load_error import LoadError

UNUSED = re.compile(
    r"(^|\.)(pooler|cls|lm_head|classifier|inv_freq"
    r"|embeddings\.position_ids|embeddings\.token_type_ids)(\.|$)"
    r"|^(head|decoder)\."
)
"""Tensors not needed for the last hidden state: buffers and pretraining heads."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """`inputs` are `input_ids`, `attention_mask` and, if there are several types,
    `token_type_ids`.

    `hidden` is `[batch, length, size]`. `prefix` is the prefix of the encoder's tensor names, not
    of a head's.
    """

    inputs: list[Node]
    mask: Node
    hidden: Node
    prefix: str


def prefix_of(tensors: EncoderTensors, words: str) -> str:
    """The prefix of the tensor `words`, the table of word embeddings. Raises LoadError unless there
    is exactly one."""
    found = [name for name in tensors.names() if name == words or name.endswith(f".{words}")]
    if len(found) != 1:
        raise LoadError(f"The weights have {len(found)} tensors named {words!r}; one is expected.")
    return found[0].removesuffix(words)


def check_all_used(tensors: EncoderTensors) -> None:
    """Raise LoadError naming unused tensors, which indicate another architecture."""
    unknown = [name for name in tensors.left() if not UNUSED.search(name)]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise LoadError(
            f"The weights have {len(unknown)} tensors that this encoder does not use: {shown}.",
            "Their architecture differs from config.json; try `engine: torch`.",
        )
