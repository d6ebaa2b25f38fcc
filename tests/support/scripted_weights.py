"""A tiny Qwen3 that writes one fixed text: each token determines the next.

A token's embedding is a direction of its own, attention and MLP add nothing, and the row of
`lm_head` for a token is the direction of the one before it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from support import tiny_chat

SIZE = tiny_chat.VOCABULARY
CONFIG = tiny_chat.QWEN3 | {"hidden_size": SIZE, "num_hidden_layers": 1}
LAST = "\n"
"""The last token of a prompt."""


def write(folder: Path, pieces: Sequence[str], template: str = "") -> Path:
    """A repository whose model writes `pieces`, which differ from each other, then ends its turn.
    `template` is added to the chat template as a comment, for the formats that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_chat.write_tokenizer(folder, "qwen")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    first = max([*words.values(), *(each["id"] for each in tokenizer["added_tokens"])]) + 1
    assert first + len(pieces) <= SIZE
    for number, piece in enumerate(pieces, start=first):
        tokenizer["added_tokens"].append({
            "id": number, "content": piece, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": False,
        })  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = f"{{# {template} #}}{config['chat_template']}"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    newline = words[_byte_level(LAST)]
    chain = [newline, *range(first, first + len(pieces)), CONFIG["eos_token_id"]]
    tensors = tiny_chat.random_tensors(CONFIG)
    for name in tensors:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensors[name] = np.zeros_like(tensors[name])
    tensors["model.norm.weight"] = np.ones_like(tensors["model.norm.weight"])
    tensors["model.embed_tokens.weight"] = np.eye(SIZE, dtype=np.float32)
    head = np.zeros((SIZE, SIZE), dtype=np.float32)
    for before, after in itertools.pairwise(chain):
        head[after, before] = 1
    tensors["lm_head.weight"] = head
    tiny_chat.write_tensors(folder, tensors)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": CONFIG["eos_token_id"]})
    )
    return folder


def _byte_level(text: str) -> str:
    """The spelling of a control character in a byte-level vocabulary (GPT-2's bytes_to_unicode)."""
    return chr(256 + ord(text))
