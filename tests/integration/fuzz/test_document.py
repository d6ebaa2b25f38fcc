"""Everything the documents describe, asked for by schemathesis: what they call valid and what they
do not, every method, every header, every boundary they name.

All of schemathesis' checks hold but one. `positive_data_acceptance` takes for a fault any 400 to
what a schema calls valid; OpenAI's API refuses so too what no schema can tell: a prompt beyond the
context, a parameter the engine cannot honour, bytes that are no sound. `described.is_taken` stands
in its place: it lets pass a 400 whose code speaks of such, and none that speaks of the request's
shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import psutil
import pytest
import requests
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from integration.fuzz import bodies, described
from integration.fuzz.processes import running

EXAMPLES = max(5, int(os.environ.get("FUZZ_EXAMPLES", "60")) // 10)
"""Random ones for each operation, besides those at the boundaries of its schema."""
PATIENCE = 60.0
CHECKS = [
    described.is_taken, described.has_the_shape_of_errors, described.ends_its_streams,
]  # fmt: skip
TASKS = ("chat", "embedding", "rerank", "speech")
MODELS = {task: task for task in TASKS}
KEPT = 8
"""Requests for each operation that are sent again, to see whether memory grows."""
ROUNDS = 2
GROWTH_BYTES = 24 * 1024 * 1024

sent: dict[tuple[str, str], list[requests.PreparedRequest]] = {}
"""By target and operation."""
answered: dict[tuple[str, str], int] = {}
"""How many good answers each gave."""
UNANSWERED = frozenset({"other engines", "other tasks"})
"""Tags of operations that none of the stand-ins answers."""


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


def asking(target: str, task: str | None, models: dict[str, str]) -> Callable[..., None]:
    """A test for each operation of a target's document."""
    schema = described.schema_of(task, models)
    if target == "minilm":
        schema = schema.include(path=["/v1/embeddings", "/tokenize", "/detokenize"])

    @schema.parametrize()
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        derandomize=described.SAME_EVERY_TIME, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def holds(case: Any, request: pytest.FixtureRequest, session: requests.Session) -> None:
        port, _ = request.getfixturevalue("targets")(target)
        described.prepare(case)
        base = f"http://127.0.0.1:{port}"
        response = case.call(base_url=base, session=session, timeout=PATIENCE)
        place = (target, case.operation.label)
        kept = sent.setdefault(place, [])
        if len(kept) < KEPT:
            kept.append(response.request)
        if UNANSWERED.isdisjoint(case.operation.tags):
            answered[place] = answered.get(place, 0) + (response.status_code == 200)
        case.validate_response(
            response, additional_checks=CHECKS, excluded_checks=[positive_data_acceptance]
        )

    return holds


test_the_server_of_chat = asking("chat", "chat", MODELS)
test_the_server_of_embeddings = asking("embedding", "embedding", MODELS)
test_the_server_of_rerank = asking("rerank", "rerank", MODELS)
test_the_server_of_speech = asking("speech", "speech", MODELS)
test_the_router = asking("router", None, MODELS)
test_the_real_minilm = pytest.mark.weights(
    asking("minilm", "embedding", {"embedding": "embedding"})
)  # fmt: skip


@pytest.fixture(scope="module")
def targets(
    fuzzed: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], tuple[int, psutil.Process]]]:
    """The port of a target, and the process that listens there."""
    with ExitStack() as stack:

        @cache
        def find(target: str) -> tuple[int, psutil.Process]:
            if target == "router":
                return fuzzed.router, fuzzed.processes["router"]
            if target != "minilm":
                return fuzzed.ports[target], fuzzed.processes["servers"]
            folder = tmp_path_factory.mktemp("minilm")
            # Here, or every test of this module would count as one that needs real weights.
            demo_weights = request.getfixturevalue("demo_weights")
            started = running(folder, demo_weights("minilm"))
            entries, process = stack.enter_context(started)
            return entries["embedding"][1], psutil.Process(process.pid)

        yield find


def test_every_operation_was_answered_well_too() -> None:
    """Else it would have been refused for a reason that has nothing to do with what was sent."""
    if not answered:
        pytest.skip("the tests that ask were left out")
    assert len(answered) > 50
    tokens = {("chat", f"POST /{name}") for name in ("tokenize", "detokenize")}
    assert {place for place, good in answered.items() if not good} <= tokens


def right_ones(port: int, target: str) -> list[requests.PreparedRequest]:
    """What to send where the tests that ask were left out."""
    task = {"minilm": "embedding"}.get(target, target)
    return [
        requests.Request("POST", f"http://127.0.0.1:{port}{path}", json=valid).prepare()
        for path, valid in bodies.VALID * 20
        if target == "router" or valid["model"] == task
    ]


@pytest.mark.parametrize(
    "target", ["chat", "router", pytest.param("minilm", marks=pytest.mark.weights)]
)
def test_sending_it_all_again_needs_no_more_memory(
    target: str, targets: Any, session: requests.Session
) -> None:
    port, process = targets(target)
    here = [kept for (place, _), kept in sent.items() if targets(place)[1] == process]
    again = [each for kept in here for each in kept] or right_ones(port, target)

    def go_round() -> int:
        for each in again:
            session.send(each, timeout=PATIENCE)
        found: int = process.memory_info().rss
        return found

    first = go_round()
    after = [go_round() for _ in range(ROUNDS)]
    assert after[-1] - first < GROWTH_BYTES, (first, after)
