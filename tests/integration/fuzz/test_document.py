"""All operations of the OpenAPI documents with schemathesis: valid and invalid bodies, methods,
headers and boundaries.

All checks of schemathesis apply except `positive_data_acceptance`, which fails for every 400 to a
valid body. OpenAI's API also rejects bodies for reasons that a schema cannot express: a prompt
beyond the context, an unsupported parameter, bytes that are not audio. Instead, `valid_is_accepted`
of openapi_checks accepts a 400 with such a code, but none for the request's shape.
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

from integration.fuzz import bodies, openapi_checks
from integration.fuzz.processes import running

EXAMPLES = max(5, int(os.environ.get("FUZZ_EXAMPLES", "30")) // 10)
"""Random examples for each operation, besides those at the boundaries of its schema."""
TIMEOUT_SECONDS = 60.0
CHECKS = [
    openapi_checks.valid_is_accepted,
    openapi_checks.errors_have_shape,
    openapi_checks.streams_have_end,
]
TASKS = ("chat", "embedding", "rerank", "speech")
MODELS = {task: task for task in TASKS}
KEPT = 8
"""Requests for each operation that are sent again to check memory."""
ROUNDS = 2
GROWTH_BYTES = 24 * 1024 * 1024

sent: dict[tuple[str, str], list[requests.PreparedRequest]] = {}
"""Requests by target and operation."""
answered: dict[tuple[str, str], int] = {}
"""Number of valid responses by operation."""
UNANSWERED = frozenset({"other engines", "other tasks"})
"""Tags of operations that no fake server implements."""


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


def make_tests(target: str, task: str | None, models: dict[str, str]) -> Callable[..., None]:
    """Create a test for each operation of a target's document."""
    schema = openapi_checks.schema_of(task, models)
    if target == "minilm":
        schema = schema.include(path=["/v1/embeddings", "/tokenize", "/detokenize"])

    @schema.parametrize()
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        derandomize=openapi_checks.SAME_EVERY_TIME, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def holds(case: Any, request: pytest.FixtureRequest, session: requests.Session) -> None:
        port, _ = request.getfixturevalue("targets")(target)
        openapi_checks.prepare(case)
        base = f"http://127.0.0.1:{port}"
        response = case.call(base_url=base, session=session, timeout=TIMEOUT_SECONDS)
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


test_the_server_of_chat = make_tests("chat", "chat", MODELS)
test_the_server_of_embeddings = make_tests("embedding", "embedding", MODELS)
test_the_server_of_rerank = make_tests("rerank", "rerank", MODELS)
test_the_server_of_speech = make_tests("speech", "speech", MODELS)
test_the_router = make_tests("router", None, MODELS)
test_the_real_minilm = pytest.mark.weights(
    make_tests("minilm", "embedding", {"embedding": "embedding"})
)  # fmt: skip


@pytest.fixture(scope="module")
def targets(
    fuzzed: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], tuple[int, psutil.Process]]]:
    """The port of a target and its process."""
    with ExitStack() as stack:

        @cache
        def find(target: str) -> tuple[int, psutil.Process]:
            if target == "router":
                return fuzzed.router, fuzzed.processes["router"]
            if target != "minilm":
                return fuzzed.ports[target], fuzzed.processes["servers"]
            folder = tmp_path_factory.mktemp("minilm")
            # Requested here, because otherwise all tests of this module would count as using real
            # weights.
            demo_weights = request.getfixturevalue("demo_weights")
            started = running(folder, demo_weights("minilm"))
            entries, process = stack.enter_context(started)
            return entries["embedding"][1], psutil.Process(process.pid)

        yield find


def test_every_operation_succeeded() -> None:
    """Without a successful response, all requests may have failed for unrelated reasons."""
    if not answered:
        pytest.skip("no test of this module sent requests")
    assert len(answered) > 50
    tokens = {("chat", f"POST /{name}") for name in ("tokenize", "detokenize")}
    assert {place for place, good in answered.items() if not good} <= tokens


def valid_requests(port: int, target: str) -> list[requests.PreparedRequest]:
    """Valid requests, for runs without the tests that record requests."""
    task = {"minilm": "embedding"}.get(target, target)
    return [
        requests.Request("POST", f"http://127.0.0.1:{port}{path}", json=valid).prepare()
        for path, valid in bodies.VALID * 20
        if target == "router" or valid["model"] == task
    ]


@pytest.mark.parametrize(
    "target", ["chat", "router", pytest.param("minilm", marks=pytest.mark.weights)]
)
def test_memory_is_constant(target: str, targets: Any, session: requests.Session) -> None:
    port, process = targets(target)
    here = [kept for (place, _), kept in sent.items() if targets(place)[1] == process]
    again = [each for kept in here for each in kept] or valid_requests(port, target)

    def send_all() -> int:
        for each in again:
            session.send(each, timeout=TIMEOUT_SECONDS)
        found: int = process.memory_info().rss
        return found

    first = send_all()
    after = [send_all() for _ in range(ROUNDS)]
    assert after[-1] - first < GROWTH_BYTES, (first, after)
