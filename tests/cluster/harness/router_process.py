"""Runs the router as a process with the rights of its ServiceAccount only."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import yaml

from harness.control_plane import ControlPlane
from harness.process import Process
from harness.run import Run
from harness.tenant import Tenant
from support.ports import free_port

ROOT = Path(__file__).parents[3]
ACCOUNT = "modelfleet-router"
RULES = ROOT / "services" / "fleet_router" / "rbac.yaml"
STUB = ROOT / "tests" / "support" / "stub_server.py"
_RBAC = "rbac.authorization.k8s.io"
_numbers = itertools.count(1)


def grant(tenant: Tenant, account: str = ACCOUNT) -> None:
    """Create a ServiceAccount with the router's rights in the tenant's namespace."""
    name = {"name": account}
    tenant.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name})
    rules = yaml.safe_load(RULES.read_text())["watched"]
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": name, "rules": rules}
    tenant.apply(role)
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": account}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": tenant.namespace}
    binding = {"kind": "RoleBinding", "metadata": name, "roleRef": reference, "subjects": [subject]}
    tenant.apply({"apiVersion": f"{_RBAC}/v1", **binding})


class RouterProcess:
    """A router of a tenant's namespace that can be stopped, killed and started again."""

    def __init__(self, run: Run, plane: ControlPlane, tenant: Tenant, **settings: str) -> None:
        path = tenant.api.path("v1", "ServiceAccount", tenant.namespace, ACCOUNT)
        token = tenant.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
        self._run = run
        self._settings = settings
        self._config = plane.kubeconfig_with(ACCOUNT, token, tenant.namespace)
        self._process: Process | None = None
        self.port = 0

    def start(self, *, ready: bool = True) -> None:
        """Start it; return when it is ready with its first table, or live if `ready` is false."""
        self.port = free_port()
        environ = {"KUBECONFIG": str(self._config), **self._settings}
        pairs = [f"{name}={value}" for name, value in environ.items()]
        command = ["env", *pairs, sys.executable, "-W", "error", "-m", "fleet_router", "--kube",
                   "--port", str(self.port)]  # fmt: skip
        self._process = Process(self._run, f"router-{next(_numbers)}", command)
        self._process.wait_until(lambda: self.is_ok("/readyz" if ready else "/livez"))

    def stop(self) -> None:
        """Send SIGTERM and wait."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def wait_until(self, condition: Any) -> None:
        """Wait until `condition()` is condition; the error has the end of the router's log."""
        assert self._process is not None
        self._process.wait_until(condition)

    def is_ok(self, path: str) -> bool:
        """Whether GET of one of the router's own paths returns 200."""
        try:
            return self.get(path).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> httpx.Response:
        """GET one of the router's own paths."""
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=60)

    def states(self) -> dict[str, str]:
        """The state of every model in /v1/models."""
        return {entry["id"]: entry["state"] for entry in self.get("/v1/models").json()["data"]}

    def chat(self, model: str, **plan: Any) -> httpx.Response:
        """Send a chat request; `plan` configures the stub's response."""
        return httpx.post(
            f"{self.url}/v1/chat/completions", json={"model": model, "messages": []},
            headers={"x-plan": json.dumps(plan)}, timeout=180, trust_env=False,
        )  # fmt: skip

    def client(self) -> openai.OpenAI:
        """The official client."""
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="none", max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


ALL_FAMILIES = ""
"""No name: event loops listen on `::` for IPv6 only."""


class StubServers:
    """A stub model server on port 8000 of all simulated pods' addresses."""

    def __init__(self, run: Run, model: str, task: str = "chat") -> None:
        command: list[str | Path] = [sys.executable, STUB, "8000", model, task, ALL_FAMILIES]
        self._process = Process(run, f"stub-{next(_numbers)}", command)
        self._process.wait_until(self._responds)

    def stop(self) -> None:
        """Stop the stub."""
        self._process.stop()

    @staticmethod
    def _responds() -> bool:
        try:
            return httpx.get("http://127.0.0.1:8000/v1/models", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
