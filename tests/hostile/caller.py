"""A normal caller: short requests one after the other, whose first token and success are kept."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from hostile.forms import form, sample
from hostile.target import CHAT, EMBEDDING, JSON, Target

RATIO = 6.0
"""How much slower than on the quiet fleet a request may become."""
STEP_SECONDS = 2.5
"""How much later it may begin, where the quiet fleet takes less than half a second."""
PATIENCE = 120.0
QUIET_ROUNDS = 5
PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Probe:
    """One request of the caller: seconds to the first token and the longest pause after it."""

    first: float
    gap: float = 0.0
    failure: str = ""


Ask = Callable[[Target], Probe]


def chat(target: Target) -> Probe:
    """A streamed chat of some tokens."""
    body = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 12,
        "temperature": 0,
        "stream": True,
    }
    began = time.monotonic()
    at, first, gap, text, ended = began, 0.0, 0.0, "", False
    with _sent(target, "/v1/chat/completions", json.dumps(body).encode(), JSON) as response:
        if response.status != 200:
            return _refused(response, began)
        for line in response:
            if not line.startswith(b"data: "):
                continue
            now = time.monotonic()
            if line.startswith(b"data: [DONE]"):
                ended = True
            elif piece := _piece(line):
                if first:
                    gap = max(gap, now - at)
                else:
                    first = now - began
                at, text = now, text + piece
    good = ended and "Paris" in text
    return Probe(first, gap, "" if good else f"the stream ended with {text!r}")


def embeddings(target: Target) -> Probe:
    """The vectors of two short texts."""
    body = {"model": EMBEDDING, "input": ["A cat sits.", f"At {time.monotonic()}."]}
    began = time.monotonic()
    with _sent(target, "/v1/embeddings", json.dumps(body).encode(), JSON) as response:
        if response.status != 200:
            return _refused(response, began)
        found = json.loads(response.read())
    good = [len(item["embedding"]) for item in found["data"]] == [384, 384]
    return Probe(time.monotonic() - began, failure="" if good else "vectors of another shape")


def speech(target: Target) -> Probe:
    """The text of a recording of some seconds."""
    body, kind = form([("model", target.speech), ("file", sample())])
    began = time.monotonic()
    with _sent(target, "/v1/audio/transcriptions", body, kind) as response:
        if response.status != 200:
            return _refused(response, began)
        text = json.loads(response.read())["text"]
    return Probe(time.monotonic() - began, failure="" if len(text) > 10 else f"heard {text!r}")


class _Sent:
    """A request that was sent; its response within the block."""

    def __init__(self, target: Target, path: str, body: bytes, kind: str) -> None:
        self._connection = http.client.HTTPConnection(*target.address, timeout=PATIENCE)
        headers = {"content-type": kind, "authorization": f"Bearer {target.caller_key}"}
        self._connection.request("POST", path, body, headers)

    def __enter__(self) -> http.client.HTTPResponse:
        return self._connection.getresponse()

    def __exit__(self, *_: object) -> None:
        self._connection.close()


_sent = _Sent


def _piece(line: bytes) -> str:
    event = json.loads(line.removeprefix(b"data: "))
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))


def _refused(response: http.client.HTTPResponse, began: float) -> Probe:
    text = response.read(500).decode(errors="replace")
    return Probe(time.monotonic() - began, failure=f"{response.status}: {text}")


def ask(target: Target, kind: Ask) -> Probe:
    """One request; whatever goes wrong is the probe's failure."""
    began = time.monotonic()
    try:
        return kind(target)
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        return Probe(time.monotonic() - began, failure=repr(error))


Quiet = Mapping[Ask, Probe]
"""What each kind of request takes on the quiet fleet."""


def quiet(target: Target, kinds: Iterable[Ask] = (chat, embeddings, speech)) -> Quiet:
    """Medians of some rounds after a first one. Raises AssertionError where a request fails."""
    found = {}
    for kind in kinds:
        probes = [ask(target, kind) for _ in range(QUIET_ROUNDS + 1)][1:]
        assert not any(probe.failure for probe in probes), probes
        found[kind] = Probe(
            statistics.median(probe.first for probe in probes),
            statistics.median(probe.gap for probe in probes),
        )
    return found


def bound(seconds: float, step: float = STEP_SECONDS) -> float:
    """The most seconds that what takes `seconds` on the quiet fleet may take during an attack."""
    return max(RATIO * seconds, seconds + step)


class Caller:
    """`with Caller(target, kinds) as caller:` sends requests in turn until the block ends.

    Leaving the block waits for a request of each kind that began after the attack.
    """

    def __init__(self, target: Target, kinds: Iterable[Ask]) -> None:
        self._target = target
        self._kinds = tuple(kinds)
        self._ending = threading.Event()
        self._round = threading.Condition()
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.probes: dict[Ask, list[Probe]] = defaultdict(list)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def rounds(self, number: int, seconds: float) -> None:
        """Wait until `number` more rounds have been completed, at most `seconds`."""
        with self._round:
            wanted = self._rounds + number
            self._round.wait_for(lambda: self._rounds >= wanted, seconds)

    def worst(self, kind: Ask) -> Probe:
        """The longest times of a kind's requests, and a failure if there was one."""
        found = self.probes[kind]
        return Probe(
            max(probe.first for probe in found),
            max(probe.gap for probe in found),
            next((probe.failure for probe in found if probe.failure), ""),
        )

    def complaints(self, before: Quiet, step: float = STEP_SECONDS) -> list[str]:
        """How its requests differed from those on the quiet fleet by more than they may."""
        found = []
        for kind in self._kinds:
            worst, usual = self.worst(kind), before[kind]
            if worst.failure:
                found.append(f"{kind.__name__} failed: {worst.failure}")
            for name, took, usually in (
                ("first token", worst.first, usual.first),
                ("pause", worst.gap, usual.gap),
            ):
                if took > bound(usually, step):
                    found.append(f"{kind.__name__}: {name} {took:.1f} s, quiet {usually:.2f} s")
        return found

    def _run(self) -> None:
        last = False
        while not last:
            last = self._ending.is_set()
            for kind in self._kinds:
                self.probes[kind].append(ask(self._target, kind))
            with self._round:
                self._rounds += 1
                self._round.notify_all()
            time.sleep(PAUSE)
