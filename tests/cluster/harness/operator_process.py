"""Runs the operator as its users do: a process with its ServiceAccount's rights and no others."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness import kubeconfig
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.process import Process
from harness.run import Run
from support.ports import free_port
from support.waiting import until

ROOT = Path(__file__).parents[3]
NAMESPACE = "modelfleet-system"
ACCOUNT = "modelfleet-operator"
DEFINITION = ROOT / "crds" / "inferencemodels.modelfleet.dev.yaml"
RULES = ROOT / "operator" / "rbac.yaml"

QUICK = {
    "AUTOSCALE_INTERVAL": "0.2",
    "PROBE_INTERVAL": "0.2",
    "RESYNC_INTERVAL": "1",
    "SERVER_IMAGE_CPU": "modelfleet-server:cpu",
    "SERVER_IMAGE_CUDA": "modelfleet-server:cuda",
}
"""Settings that let tests wait for less."""
_numbers = itertools.count(1)


def install(api: Api) -> None:
    """The custom resource definition, established."""
    definition = yaml.safe_load(DEFINITION.read_text())
    api.apply(definition)

    def established(found: Json | None) -> bool:
        conditions = (found or {}).get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    api.wait(definition["apiVersion"], definition["kind"], None, definition["metadata"]["name"],
             established)  # fmt: skip


def grant(api: Api, namespaces: tuple[str, ...] = (), account: str = ACCOUNT) -> None:
    """A ServiceAccount with the operator's rights: in the whole cluster, or in `namespaces`."""
    rules = yaml.safe_load(RULES.read_text())
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply(_object("v1", "ServiceAccount", account, NAMESPACE))
    _role(api, account, NAMESPACE, rules["own"], subject)
    for namespace in namespaces:
        _role(api, f"{account}-watched", namespace, rules["watched"], subject)
    if not namespaces:
        _role(api, account, None, rules["watched"] + rules["cluster"], subject)


def _role(api: Api, name: str, namespace: str | None, rules: list[Json], subject: Json) -> None:
    group, cluster = "rbac.authorization.k8s.io", "" if namespace else "Cluster"
    role = _object(f"{group}/v1", f"{cluster}Role", name, namespace)
    api.apply({**role, "rules": rules})
    binding = _object(f"{group}/v1", f"{cluster}RoleBinding", name, namespace)
    reference = {"apiGroup": group, "kind": role["kind"], "name": name}
    api.apply({**binding, "roleRef": reference, "subjects": [subject]})


def _object(api_version: str, kind: str, name: str, namespace: str | None) -> Json:
    meta: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


class OperatorProcess:
    """One operator; it can be stopped, killed and started again."""

    def __init__(
        self, run: Run, plane: ControlPlane, api: Api, account: str = ACCOUNT, server: str = ""
    ) -> None:
        """`server` stands for the API server where something is between it and the operator."""
        path = api.path("v1", "ServiceAccount", NAMESPACE, account)
        token = api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
        self._run = run
        self._config = kubeconfig.write(
            run.path("kubeconfig", f"{account}-{next(_numbers)}"),
            server or plane.server, plane.authority, token, NAMESPACE,
        )  # fmt: skip
        self._process: Process | None = None
        self.port = 0

    def start(self, **settings: str) -> None:
        """Start it and return when its watches are complete."""
        self.port = free_port()
        environ = {
            **QUICK,
            "KUBECONFIG": str(self._config),
            "POD_NAMESPACE": NAMESPACE,
            "OPERATOR_PORT": str(self.port),
            **settings,
        }
        pairs = [f"{name}={value}" for name, value in environ.items()]
        command = ["env", *pairs, sys.executable, "-W", "error", "-m", "fleet_operator"]
        self._process = Process(self._run, f"operator-{next(_numbers)}", command)
        self._process.wait_until(lambda: self.answers("/readyz"))

    def answers(self, path: str) -> bool:
        """Whether one of its own paths answers with 200."""
        try:
            return httpx.get(self._url(path), trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def await_answer(self, path: str, status: int, timeout: float = 60) -> None:
        """Wait until one of its own paths answers so."""
        until(
            lambda: httpx.get(self._url(path), trust_env=False, timeout=5).status_code == status,
            timeout,
            state=self.log,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def metrics(self) -> str:
        """Its metrics as text."""
        return httpx.get(self._url("/metrics"), trust_env=False, timeout=5).text

    def log(self) -> str:
        """The end of its log."""
        return self._process.tail() if self._process is not None else ""

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"
