"""`python -m hostile.soak --seconds N`: malformed and normal requests to a real fleet, for hours.

At the end the counts by route and status, every 5xx, hang and malformed response with a file that
reproduces it, and the memory of each process at the start and at the end are printed as JSON and
as a row for docs/benchmarks.md. The exit status is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import psutil
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hostile import caller
from hostile.fleet import SPEECH
from hostile.memory import MIB
from hostile.target import CHAT, EMBEDDING, Target
from integration.fuzz import bodies, raw_http
from support.local_fleet import READY, START_SECONDS, Fleet, running_fleet
from support.models_root import models_root

AT_ONCE = 4
BATCH = 40
"""Requests that are generated together."""
WARM_SECONDS = 30.0
"""Before the memory at the start is read."""
MODELS = {"chat": CHAT, "embedding": EMBEDDING, "speech": SPEECH, "rerank": EMBEDDING}
LEAVE_SHARE = 0.05
"""Share of the clients that send a part of their request only."""


@dataclass
class Tally:
    """What was sent and what came back; `folder` keeps requests whose response was wrong."""

    folder: Path
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: str, status: str, raw: bytes, fault: str) -> None:
        """Count a response; `fault` is what was wrong with it, "" if nothing."""
        with self._lock:
            self.statuses[path, status] += 1
            if fault:
                file = self.folder / f"{len(self.wrong):04}.http"
                file.write_bytes(raw)
                self.wrong.append(f"{path} {status}: {fault[:300]} ({file})")

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    def count(self, first: str) -> int:
        """Responses whose status begins so."""
        return sum(n for (_, status), n in self.statuses.items() if status.startswith(first))


def generated(strategy: st.SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """Examples of a strategy, the same for a seed."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


def for_models(valid: dict[str, Any]) -> dict[str, Any]:
    """A valid body for the models of the real fleet, with a short output."""
    return valid | {"model": MODELS[valid["model"]]}


def batch(dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Paths and requests of one kind."""
    seed, kind = dice.getrandbits(32), dice.random()
    if kind < 0.25:
        path = dice.choice(("/v1/audio/transcriptions", "/v1/audio/translations"))
        for body, content_type in generated(bodies.broken_form(), BATCH // 4, seed):
            body = body.replace(b"\r\nspeech\r\n", b"\r\n%b\r\n" % SPEECH.encode())
            yield path, raw_http.post(path, body, content_type)
        return
    path, valid = dice.choice(bodies.VALID)
    valid = for_models(valid)
    if kind < 0.35:
        strategy = bodies.broken_bytes(bodies.encoded(valid, False))
        for body in generated(strategy, BATCH, seed):
            yield path, raw_http.post(path, body)
    elif kind < 0.45:
        yield path, raw_http.post(path, bodies.encoded(valid, True))
    else:
        for body in generated(bodies.broken_json(valid), BATCH, seed):
            yield path, raw_http.post(path, bodies.encoded(body, dice.random() < 0.5))


def send(tally: Tally, port: int, path: str, raw: bytes, share: float) -> None:
    """Send a request, or the first `share` of it, and count the response."""
    part = raw if share >= 1 else raw[: int(len(raw) * share)]
    status, fault = "closed", ""
    try:
        answer = raw_http.exchange(port, part, leave=share < 1)
        if answer is None:
            fault = "" if share < 1 else "closed without a response"
        else:
            status, fault = str(answer.status), judged(answer)
    except TimeoutError:
        status, fault = "hang", f"nothing for {raw_http.TIMEOUT_SECONDS:g} s"
    except (http.client.HTTPException, OSError, AssertionError, ValueError) as error:
        status, fault = "broken", repr(error)
    tally.add(path, status, part, fault)


def judged(answer: raw_http.Answer) -> str:
    """What is wrong with a response; "" if nothing."""
    if answer.status >= 500:
        return str(answer.body[:300], "utf-8", "replace")
    if answer.status >= 400 and set(json.loads(answer.body)) != {"error"}:
        return "an error of another shape"
    if b"Traceback" in answer.body:
        return "a traceback"
    return ""


def soak(fleet: Fleet, tally: Tally, seconds: float, seed: int) -> dict[str, list[float]]:
    """Send requests for so long; the MiB of each process at the start and at the end."""
    processes = {
        "router": fleet.router(), "chat": fleet.server(CHAT),
        "embeddings": fleet.server(EMBEDDING), "speech": fleet.server(SPEECH),
    }  # fmt: skip
    target = Target(fleet.base_url, "", "", SPEECH)
    dice, began, start = random.Random(seed), time.monotonic(), dict[str, float]()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        while (elapsed := time.monotonic() - began) < seconds:
            if not start and elapsed > min(WARM_SECONDS, seconds / 4):
                start = megabytes(processes)
            shares = [dice.random() if dice.random() < LEAVE_SHARE else 1.0 for _ in range(BATCH)]
            sent = list(batch(dice))
            list(threads.map(
                lambda one, share: send(tally, fleet.port, one[0], one[1], share), sent, shares
            ))  # fmt: skip
            normal(tally, target)
    end = megabytes(processes)
    return {name: [start.get(name, end[name]), end[name]] for name in processes}


def normal(tally: Tally, target: Target) -> None:
    """A normal request of each kind."""
    for kind in (caller.chat, caller.embeddings, caller.speech):
        probe = caller.ask(target, kind)
        tally.add(f"a normal request: {kind.__name__}", "failed" if probe.failure else "200", b"",
                  probe.failure)  # fmt: skip


def megabytes(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Resident MiB of each process."""
    return {name: round(one.memory_info().rss / MIB) for name, one in processes.items()}


def row(tally: Tally, seconds: float, memory: dict[str, list[float]]) -> str:
    """A row of the table in docs/benchmarks.md."""
    grown = ", ".join(f"{name} {start:.0f} → {end:.0f}" for name, (start, end) in memory.items())
    today = datetime.datetime.now(datetime.UTC).date()
    statuses = [f"{tally.count(first):,}" for first in ("2", "4", "5")]
    others = tally.requests - sum(tally.count(first) for first in "245")
    return (f"| {today} | {seconds / 60:.0f} | {tally.requests:,} | {' / '.join(statuses)} |"
            f" {others:,} | {grown} |")  # fmt: skip


def main(arguments: Iterable[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser("soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where wrong requests and logs are kept")
    asked = parser.parse_args(None if arguments is None else list(arguments))
    warnings.simplefilter("ignore", hypothesis.errors.NonInteractiveExampleWarning)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally(folder)
    served = ",".join((CHAT, EMBEDDING, SPEECH))
    with running_fleet(models_root(), folder, "--models", served, READ_TIMEOUT="5") as fleet:
        fleet.wait_for(READY, START_SECONDS)
        memory = soak(fleet, tally, asked.seconds, asked.seed)
        output = "\n".join(log.read_text() for log in folder.glob("run/*/*.log"))
    if "Traceback" in output:
        tally.wrong.append(output[output.index("Traceback") :][:3000])
    statuses: dict[str, dict[str, int]] = {}
    for (path, status), number in sorted(tally.statuses.items()):
        statuses.setdefault(path, {})[status] = number
    print(json.dumps({"seed": asked.seed, "seconds": asked.seconds, "statuses": statuses,
                      "MiB": memory, "wrong": tally.wrong}, indent=1))  # fmt: skip
    print(row(tally, asked.seconds, memory))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
