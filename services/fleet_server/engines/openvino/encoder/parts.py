"""What every family's graph builder hands over, and checks of the tensors it read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet_server.engines.openvino.encoder.nodes import Node
from fleet_server.engines.openvino.encoder.tensors import Tensors
from fleet_server.load_error import LoadError

UNUSED = re.compile(
    r"(^|\.)(pooler|cls|lm_head|classifier|inv_freq"
    r"|embeddings\.position_ids|embeddings\.token_type_ids)(\.|$)"
    r"|^(head|decoder)\."
)
"""Tensors that take no part in a last hidden state: buffers and heads of pretraining."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """`inputs` are `input_ids`, `attention_mask` and, where types differ, `token_type_ids`.

    `hidden` is `[batch, length, size]`. `prefix` stands before the names of the encoder's tensors,
    not of those of a head.
    """

    inputs: list[Node]
    mask: Node
    hidden: Node
    prefix: str


def prefix_of(tensors: Tensors, words: str) -> str:
    """What stands before `words`, the table of word embeddings. Raises LoadError unless there is
    one."""
    found = [name for name in tensors.names() if name == words or name.endswith(f".{words}")]
    if len(found) != 1:
        raise LoadError(f"The weights have {len(found)} tensors named {words!r}; one is expected.")
    return found[0].removesuffix(words)


def check_all_used(tensors: Tensors) -> None:
    """Raises LoadError naming tensors that mean an architecture other than the one built."""
    unknown = [name for name in tensors.left() if not UNUSED.search(name)]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise LoadError(
            f"The weights hold {len(unknown)} tensors this encoder has no place for: {shown}.",
            "They belong to another architecture than config.json says; try `engine: torch`.",
        )
