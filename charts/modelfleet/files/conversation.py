"""What `helm test` runs: the official OpenAI client talks to the router over every task it finds.

Exit status 1 when an answer is wrong, a required task is missing, or there is no model at all.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import openai

HERE = Path(__file__).parent
TASKS = ("chat", "embedding", "speech")
SPOKEN = "the weather is nice today and we are going for a walk in the park"
STOPPED = ("stopped", "failed", "conflict")


def main() -> int:
    """Talk; the exit status."""
    client = openai.OpenAI(
        base_url=os.environ["BASE_URL"],
        api_key=os.environ.get("API_KEY", "none"),
        timeout=float(os.environ.get("TIMEOUT", "300")),
        max_retries=5,
    )
    asked: dict[str, str] = json.loads(os.environ.get("MODELS", "{}"))
    required = {task for task in os.environ.get("REQUIRE", "").split(",") if task}
    try:
        entries = [entry.model_dump() for entry in client.models.list()]
    except openai.OpenAIError as error:
        print(f"{client.base_url}: FAILED: {type(error).__name__}: {error}", flush=True)
        return 1
    chosen = choose(entries, asked)
    missing = sorted(required - set(chosen))
    for task in missing:
        print(f"{task}: there is no such model, and `test.require` names it", flush=True)
    if not chosen:
        print("there is no model to talk to: apply an InferenceModel first", flush=True)
    failed = [task for task, model in chosen.items() if not passes(TALKS[task], client, model)]
    return 1 if missing or failed or not chosen else 0


def choose(entries: list[dict[str, object]], asked: dict[str, str]) -> dict[str, str]:
    """The model to talk to, by task."""
    found = {}
    for task in TASKS:
        known = [e for e in entries if e.get("task") == task and e.get("state") not in STOPPED]
        model = asked.get(task) or (str(known[0]["id"]) if known else "")
        if model:
            found[task] = model
        else:
            print(f"{task}: no model, left out", flush=True)
    return found


def passes(talk: Callable[[openai.OpenAI, str], str], client: openai.OpenAI, model: str) -> bool:
    """Whether one conversation went well; says how it went."""
    try:
        print(f"{model}: {talk(client, model)}", flush=True)
    except (openai.OpenAIError, AssertionError) as error:
        print(f"{model}: FAILED: {type(error).__name__}: {error}", flush=True)
        return False
    return True


def chat(client: openai.OpenAI, model: str) -> str:
    """A whole answer, and the same streamed."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    asked = {"model": model, "messages": messages, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    text = whole.choices[0].message.content or ""
    check(bool(text.strip()), "the answer is empty")
    check(whole.usage is not None and whole.usage.completion_tokens > 0, "no usage")
    reasons, parts = [], []
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            parts.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
    check(bool("".join(parts).strip()), "the stream is empty")
    check(reasons[-1] in ("stop", "length"), f"the stream ended without a reason: {reasons[-1:]}")
    return repr(text)


def embedding(client: openai.OpenAI, model: str) -> str:
    """Texts of one meaning lie closer than others."""
    texts = ["A cat sits on the mat.", "A kitten rests on the rug.", "The tax law was amended."]
    vectors = [item.embedding for item in client.embeddings.create(model=model, input=texts).data]
    near, far = cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])
    check(near > far, f"cosine of like texts {near:.3f}, of unlike ones {far:.3f}")
    return f"{len(vectors[0])} numbers; cosine of like texts {near:.3f}, of unlike ones {far:.3f}"


def speech(client: openai.OpenAI, model: str) -> str:
    """A spoken sentence is understood: most of its words come back, from a small model too."""
    with (HERE / "english.ogg").open("rb") as recording:
        text = client.audio.transcriptions.create(model=model, file=recording).text
    words, heard = set(SPOKEN.split()), set(re.findall(r"[a-z]+", text.lower()))
    check(2 * len(words & heard) > len(words), f"understood {text!r}")
    return repr(text)


def cosine(a: list[float], b: list[float]) -> float:
    """Cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def check(holds: bool, otherwise: str) -> None:
    """Raises AssertionError, under `python -O` too."""
    if not holds:
        raise AssertionError(otherwise)


TALKS = {"chat": chat, "embedding": embedding, "speech": speech}

if __name__ == "__main__":
    sys.exit(main())
