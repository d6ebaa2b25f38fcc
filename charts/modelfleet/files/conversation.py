"""Run by `helm test`: calls one model of each task with the official OpenAI client.

Exits with status 1 if a response is wrong, a required task is missing, or there is no model.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import openai

HERE = Path(__file__).parent
TASKS = ("chat", "embedding", "speech")
SPOKEN = "the weather is nice today and we are going for a walk in the park"
STOPPED = ("stopped", "failed", "conflict")
LISTED_SECONDS = 30.0
Entries = list[dict[str, object]]


def main() -> int:
    """Test every task; returns the exit status."""
    client = openai.OpenAI(
        base_url=os.environ["BASE_URL"],
        api_key=os.environ.get("API_KEY", "none"),
        timeout=float(os.environ.get("TIMEOUT", "300")),
        max_retries=5,
    )
    requested: dict[str, str] = json.loads(os.environ.get("MODELS", "{}"))
    required = {task for task in os.environ.get("REQUIRE", "").split(",") if task}
    try:
        entries = listed(
            lambda: [entry.model_dump() for entry in client.models.list()],
            int(os.environ.get("EXPECTED", "0")),
        )
    except openai.OpenAIError as error:
        print(f"{client.base_url}: FAILED: {type(error).__name__}: {error}", flush=True)
        return 1
    chosen = choose(entries, requested)
    missing = sorted(required - set(chosen))
    for task in missing:
        print(f"{task}: no model, but `test.require` names this task", flush=True)
    if not chosen:
        print("there is no model to test: apply an InferenceModel first", flush=True)
    failed = [task for task, model in chosen.items() if not passes(TESTS[task], client, model)]
    return 1 if missing or failed or not chosen else 0


def listed(read: Callable[[], Entries], expected: int, seconds: float = LISTED_SECONDS) -> Entries:
    """All models; the operator creates those of the release a moment after it has started."""
    deadline = time.monotonic() + seconds
    while len(entries := read()) < expected and time.monotonic() < deadline:
        time.sleep(0.5)
    return entries


def choose(entries: Entries, requested: dict[str, str]) -> dict[str, str]:
    """The model to test, by task."""
    found = {}
    for task in TASKS:
        known = [e for e in entries if e.get("task") == task and e.get("state") not in STOPPED]
        model = requested.get(task) or (str(known[0]["id"]) if known else "")
        if model:
            found[task] = model
        else:
            print(f"{task}: no model, skipped", flush=True)
    return found


def passes(test: Callable[[openai.OpenAI, str], str], client: openai.OpenAI, model: str) -> bool:
    """Whether a test passes; prints its result."""
    try:
        print(f"{model}: {test(client, model)}", flush=True)
    except (openai.OpenAIError, AssertionError) as error:
        print(f"{model}: FAILED: {type(error).__name__}: {error}", flush=True)
        return False
    return True


def chat(client: openai.OpenAI, model: str) -> str:
    """A complete response, and the same streamed."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    requested = {"model": model, "messages": messages, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**requested)
    text = whole.choices[0].message.content or ""
    check(bool(text.strip()), "the response is empty")
    check(whole.usage is not None and whole.usage.completion_tokens > 0, "no usage")
    reasons, parts = [], []
    for chunk in client.chat.completions.create(**requested, stream=True):
        for choice in chunk.choices:
            parts.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
    check(bool("".join(parts).strip()), "the stream is empty")
    check(reasons[-1] in ("stop", "length"), f"the stream ended without a reason: {reasons[-1:]}")
    return repr(text)


def embedding(client: openai.OpenAI, model: str) -> str:
    """Texts with similar meanings have closer embeddings than others."""
    texts = ["A cat sits on the mat.", "A kitten rests on the rug.", "The tax law was amended."]
    vectors = [item.embedding for item in client.embeddings.create(model=model, input=texts).data]
    near, far = cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])
    check(near > far, f"cosine of similar texts {near:.3f}, of others {far:.3f}")
    return f"{len(vectors[0])} dimensions; cosine of similar texts {near:.3f}, of others {far:.3f}"


def speech(client: openai.OpenAI, model: str) -> str:
    """Most words of a spoken sentence are transcribed, even by a small model."""
    with (HERE / "english.ogg").open("rb") as recording:
        text = client.audio.transcriptions.create(model=model, file=recording).text
    words, heard = set(SPOKEN.split()), set(re.findall(r"[a-z]+", text.lower()))
    check(2 * len(words & heard) > len(words), f"transcribed {text!r}")
    return repr(text)


def cosine(a: list[float], b: list[float]) -> float:
    """Cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def check(holds: bool, otherwise: str) -> None:
    """Raises AssertionError, under `python -O` too."""
    if not holds:
        raise AssertionError(otherwise)


TESTS = {"chat": chat, "embedding": embedding, "speech": speech}

if __name__ == "__main__":
    sys.exit(main())
