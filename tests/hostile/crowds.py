"""Many requests of one caller at once, and few that are large: others get their turn."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from hostile.attack import TAKEN, Attack, at_once, expect
from hostile.caller import Caller, chat, embeddings, speech
from hostile.forms import form, sample
from hostile.target import CHAT, EMBEDDING, JSON, Target

ROUNDS = 2
ROUNDS_SECONDS = 120.0
PASS_SECONDS = 30.0
"""Two passes that are full of the longest inputs, on two cores; all of the crowd takes minutes."""


def crowd(target: Target, caller: Caller, path: str, body: bytes, kind: str, count: int) -> None:
    """Send `count` requests, read nothing, and leave once the caller had some turns."""
    raw = target.head(path, len(body), key=target.attacker_key, content_type=kind) + body
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(target.connect()).sendall(raw)
        caller.rounds(ROUNDS, ROUNDS_SECONDS)


def chats(target: Target, caller: Caller) -> None:
    """200 chats of 32 tokens."""
    document = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Tell a long story about a cat."}],
        "max_tokens": 32,
    }
    crowd(target, caller, "/v1/chat/completions", json.dumps(document).encode(), JSON, 200)


def vectors(target: Target, caller: Caller) -> None:
    """40 requests of 64 texts as long as the model reads."""
    document = {
        "model": EMBEDDING,
        "input": [f"{n} " + "word " * 200 for n in range(64)],
    }
    crowd(target, caller, "/v1/embeddings", json.dumps(document).encode(), JSON, 40)


def recordings(target: Target, caller: Caller) -> None:
    """24 recordings."""
    body, kind = form([("model", target.speech), ("file", sample())])
    crowd(target, caller, "/v1/audio/transcriptions", body, kind, 24)


def long_inputs(target: Target, _: Caller) -> None:
    """15 MiB of inputs for a model that reads 256 tokens of each."""
    document = {"model": EMBEDDING, "input": ["word " * 1500] * 2000, "truncate": True}
    expect([target.post("/v1/embeddings", document)], TAKEN)


def long_texts(target: Target, _: Caller) -> None:
    """Three texts of 900 kB at once, tokenised by /tokenize; the server stays alive meanwhile."""
    document = {"model": EMBEDDING, "content": "wörd 🎈 " * 90_000}
    _tokenised(target, "/tokenize", document, 3)


def long_ids(target: Target, _: Caller) -> None:
    """Three lists of a million ids at once, for /detokenize."""
    _tokenised(target, "/detokenize", {"model": EMBEDDING, "tokens": [7592] * 1_000_000}, 3)


def _tokenised(target: Target, path: str, document: dict[str, Any], count: int) -> None:
    raw = json.dumps(document, ensure_ascii=False).encode()
    expect(at_once([partial(target.request, path, raw)] * count), TAKEN)


def long_prompts(target: Target, _: Caller) -> None:
    """40 chats of 250 kB at once, which no model here can read."""
    document = {"model": CHAT, "messages": [{"role": "user", "content": "word " * 50_000}]}
    raw = json.dumps(document).encode()
    expect(at_once([partial(target.request, "/v1/chat/completions", raw)] * 40), TAKEN)


def prefills(target: Target, caller: Caller) -> None:
    """24 prompts of 2,000 tokens, of which the others wait for one at most."""
    with ExitStack() as stack:
        for number in range(24):
            text = f"{number} " + "word " * 2000
            document = {"model": CHAT, "messages": [{"role": "user", "content": text}],
                        "max_tokens": 1}  # fmt: skip
            body = json.dumps(document).encode()
            raw = target.head("/v1/chat/completions", len(body), key=target.attacker_key) + body
            stack.enter_context(target.connect()).sendall(raw)
        caller.rounds(ROUNDS, ROUNDS_SECONDS)


def idle(target: Target, caller: Caller) -> None:
    """500 connections that send nothing."""
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(target.connect())
        began = time.monotonic()
        caller.rounds(2, ROUNDS_SECONDS)
        assert time.monotonic() - began < ROUNDS_SECONDS


ATTACKS = (
    Attack("500 idle connections", idle, mib=64),
    Attack("texts of 900 kB to tokenise", long_texts, (chat, embeddings)),
    Attack("lists of a million ids", long_ids, (chat, embeddings)),
    Attack("40 prompts of 250 kB", long_prompts),
    Attack("15 MiB of inputs", long_inputs, (chat, embeddings)),
    Attack("40 requests of 64 texts", vectors, (embeddings,), mib=320, step=PASS_SECONDS),
    Attack("200 chats", chats, mib=512, step=PASS_SECONDS),
    Attack("24 prompts of 2,000 tokens", prefills, mib=512, step=PASS_SECONDS),
    Attack("24 recordings", recordings, (speech,), mib=512, step=PASS_SECONDS),
)
