"""The cross-attention heads that follow the audio in time, from which words get timestamps."""

from __future__ import annotations

from itertools import product
from typing import Any

from fleet_prepare.whisper.shape import Shape

Heads = list[tuple[int, int]]
"""(decoder layer, head), both from 0."""

ENGLISH, MULTILINGUAL, LARGE_V3 = 51864, 51865, 51866
"""Vocabulary sizes of OpenAI's models."""

KNOWN: dict[tuple[int, int, int], Heads] = {
    (384, 4, ENGLISH): [(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)],
    (384, 4, MULTILINGUAL): [(2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)],
    (512, 6, ENGLISH): [(3, 3), (4, 7), (5, 1), (5, 5), (5, 7)],
    (512, 6, MULTILINGUAL): [(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)],
    (768, 12, ENGLISH): [
        (6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8), (9, 10),
        (10, 0), (10, 1), (10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4),
    ],
    (768, 12, MULTILINGUAL): [
        (5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5),
    ],
    (1024, 24, ENGLISH): [
        (11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12),
        (17, 14), (18, 7), (18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12),
    ],
    (1024, 24, MULTILINGUAL): [(13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)],
    # large-v1 has the same sizes; fine-tunes are of v2 almost always.
    (1280, 32, MULTILINGUAL): [
        (10, 12), (13, 17), (16, 11), (16, 12), (16, 13), (17, 15), (17, 16), (18, 4), (18, 11),
        (18, 19), (19, 11), (21, 2), (21, 3), (22, 3), (22, 9), (22, 12), (23, 5), (23, 7),
        (23, 13), (25, 5), (26, 1), (26, 12), (27, 15),
    ],
    (1280, 32, LARGE_V3): [
        (7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1),
        (25, 6),
    ],
    (1280, 4, LARGE_V3): [(2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)],
}  # fmt: skip
"""Heads by (d_model, decoder layers, vocabulary). Source: the masks that OpenAI publishes,
github.com/openai/whisper, whisper/__init__.py, `_ALIGNMENT_HEADS`."""


def alignment_heads(named: Any, shape: Shape) -> Heads:
    """The heads that generation_config.json names, if this decoder has them all.

    Otherwise those of OpenAI's model of the same sizes, otherwise all of the upper half of the
    layers. Distilled models are published with the heads of their teacher, which they lack.
    """
    if isinstance(named, list) and named and all(_exists(head, shape) for head in named):
        return [(layer, head) for layer, head in named]
    known = KNOWN.get((shape.d_model, shape.decoder_layers, shape.vocab_size))
    if known is not None and all(_exists(list(head), shape) for head in known):
        return known
    layers = range(shape.decoder_layers // 2, shape.decoder_layers)
    return list(product(layers, range(shape.decoder_attention_heads)))


def _exists(head: Any, shape: Shape) -> bool:
    match head:
        case [int(layer), int(number)]:
            return 0 <= layer < shape.decoder_layers and 0 <= number < shape.decoder_attention_heads
    return False
