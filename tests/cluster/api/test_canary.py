"""A canary's weight under traffic through a real router, decided by a real operator.

Pods are simulated; scripted HTTP servers respond at their addresses.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from harness.api import Json
from harness.fake_kubelet import FakeKubelet
from harness.http_stub import HttpStub
from harness.models import condition, model, phase, wait
from harness.netns import Namespace
from harness.operator_process import OperatorProcess
from harness.router_process import RouterProcess
from harness.tenant import Tenant

CHAT = "/v1/chat/completions"
ROUTER = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/component": "router"}
RISE = {"step": 40, "intervalSeconds": 1, "minRequests": 20}
TRAFFIC = {"group": "test/old", "weight": 20, "rise": RISE}
CLIENTS = 4


class Clients:
    """Clients that send chats for the group, each with a session of its own, until stopped.

    `outcomes` counts the responses by model and status; ("", 0) is a client that gave up.
    """

    def __init__(self, router: RouterProcess, patience: float) -> None:
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self._url = f"{router.url}{CHAT}"
        self._patience = patience
        self._sessions = itertools.count()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=self._patience) as http:
            while not self._ended.is_set():
                headers = {"x-modelfleet-session": str(next(self._sessions))}
                body = {"model": "test/old", "messages": [{"role": "user", "content": "Hello"}]}
                try:
                    found = http.post(self._url, json=body, headers=headers)
                except httpx.TimeoutException:
                    self.outcomes["", 0] += 1
                else:
                    member = found.headers.get("x-modelfleet-model", "")
                    self.outcomes[member, found.status_code] += 1


class Group:
    """A primary `old` and a canary `new`, with a server each, behind a router."""

    def __init__(
        self, tenant: Tenant, router: RouterProcess, primary: HttpStub, canary: HttpStub
    ) -> None:
        self.tenant = tenant
        self.router = router
        self.primary = primary
        self.canary = canary

    def clients(self, patience: float = 120) -> Clients:
        return Clients(self.router, patience)

    def wait_for(self, reason: str) -> Json:
        """Wait until the share of the canary has this reason."""
        return wait(self.tenant, "new", lambda m: condition(m, "Traffic").get("reason") == reason)

    def wait_for_weight(self, weight: int) -> None:
        """Wait until the router has the canary's weight."""

        expected = "test/old" if weight == 0 else "test/new"
        self.router.wait_until(
            lambda: all(self._member(str(number)) == expected for number in range(30))
        )

    def _member(self, session: str) -> str:
        """The member that responds to a session, "" if it does not."""
        body = {"model": "test/old", "messages": []}
        headers = {"x-modelfleet-session": session}
        try:
            found = httpx.post(f"{self.router.url}{CHAT}", json=body, headers=headers,
                               trust_env=False, timeout=10)  # fmt: skip
        except httpx.TimeoutException:  # a canary that is silent
            return ""
        return found.headers.get("x-modelfleet-model", "")


@pytest.fixture
def group(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    another_operator: Callable[..., OperatorProcess],
    make_router: Callable[..., RouterProcess],
    pod_network: Namespace,
) -> Iterator[Group]:
    add_node("canary")
    router = make_router(HOST="0.0.0.0", ALLOW_UNAUTHENTICATED="1")
    container = {"name": "router", "image": "example.test/router:1"}
    meta = {"name": "router", "labels": ROUTER}
    tenant.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta,
                   "spec": {"containers": [container]}})  # fmt: skip
    another_operator(ROUTER_NAMESPACE=tenant.namespace, ROUTER_PORT=str(router.port))
    with ExitStack() as stack:
        servers: dict[str, HttpStub] = {}
        for name, spec in {"old": {"traffic": {"group": "test/old"}},
                           "new": {"traffic": TRAFFIC}}.items():  # fmt: skip
            tenant.create(model(name, **spec))
            wait(tenant, name, phase("Ready"))
            (pod,) = tenant.items(
                "v1", "Pod", labelSelector=f"modelfleet.dev/inferencemodel={name}"
            )
            responses: dict[str, tuple[int, Any]] = {CHAT: (200, {"model": name, "choices": []})}
            servers[name] = stack.enter_context(HttpStub(kubelet.address(pod), 8000, responses))
            router.wait_until(lambda name=name: router.chat(f"test/{name}").status_code == 200)
        yield Group(tenant, router, servers["old"], servers["new"])


def test_a_good_canary_gets_all_requests(group: Group) -> None:
    group.primary.delays[CHAT] = 0.2  # else a busy machine may make the canary the slower one
    with group.clients() as clients:
        found = group.wait_for("Complete")
    assert found["status"]["traffic"]["weight"] == 100
    assert set(clients.outcomes) == {("test/old", 200), ("test/new", 200)}
    group.wait_for_weight(100)


@pytest.mark.parametrize("fault", ["errors", "slow", "silent"])
def test_a_bad_canary_is_taken_back(group: Group, fault: str) -> None:
    """`silent`: its clients give up before a response, which is neither an error nor slow."""
    if fault == "errors":
        group.canary.responses[CHAT] = (500, {"error": {"message": "broken"}})
    else:
        group.canary.delays[CHAT] = 1.0 if fault == "slow" else 30.0
    with group.clients(patience=1 if fault == "silent" else 120) as clients:
        found = group.wait_for("TakenBack")
    expected = {"errors": "requests fail", "slow": "first byte", "silent": "given up"}[fault]
    assert expected in condition(found, "Traffic")["message"]
    assert found["status"]["traffic"]["weight"] == 0
    group.wait_for_weight(0)
    # No weight in between was decided on such evidence.
    old, new = clients.outcomes["test/old", 200], clients.outcomes.total()
    assert new - old < old
