"""Runs the operator as a process with the rights of its ServiceAccount only."""

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
from harness.helm import parsed
from harness.process import Process
from harness.run import Run
from support.ports import free_port
from support.waiting import until

ROOT = Path(__file__).parents[3]
NAMESPACE = "modelfleet-system"
ACCOUNT = "modelfleet-operator"
DEFINITION = ROOT / "crds" / "inferencemodels.modelfleet.dev.yaml"
RULES = ROOT / "operator" / "rbac.yaml"

SHORT_INTERVALS = {
    "AUTOSCALE_INTERVAL": "0.2",
    "MIN_RESIDENCY": "1",
    "PROBE_INTERVAL": "0.2",
    "RESYNC_INTERVAL": "1",
    "SERVER_IMAGE_CPU": "modelfleet-server:cpu",
    "SERVER_IMAGE_CUDA": "modelfleet-server:cuda",
}
"""Settings that make tests faster."""
LOG_BYTES = 500_000
_numbers = itertools.count(1)


def install(api: Api) -> None:
    """Install the custom resource definition and wait until it is established."""
    (definition,) = parsed(DEFINITION.read_text())
    api.apply(definition)

    def established(found: Json | None) -> bool:
        conditions = (found or {}).get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    api.wait(definition["apiVersion"], definition["kind"], None, definition["metadata"]["name"],
             established)  # fmt: skip


def grant(
    api: Api,
    namespaces: tuple[str, ...] = (),
    account: str = ACCOUNT,
    own: str = NAMESPACE,
    shards: bool = False,
) -> None:
    """Create a ServiceAccount with the operator's rights, in the whole cluster or `namespaces`.

    `own` is the namespace of the operator itself, as in POD_NAMESPACE. `shards`: with those of
    several shards.
    """
    rules = yaml.safe_load(RULES.read_text())
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply(_object("v1", "ServiceAccount", account, NAMESPACE))
    _role(api, account, own, rules["own"], subject)
    for namespace in namespaces:
        _role(api, f"{account}-watched", namespace, rules["watched"], subject)
    if not namespaces:
        several = rules["shards"] if shards else []
        _role(api, account, None, rules["watched"] + rules["cluster"] + several, subject)


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
    """An operator that can be stopped, killed and started again."""

    def __init__(
        self,
        run: Run,
        plane: ControlPlane,
        api: Api,
        account: str = ACCOUNT,
        server: str = "",
        namespace: str = NAMESPACE,
    ) -> None:
        """`server` replaces the URL of the API server, such as by that of a proxy. `namespace` is
        the operator's own."""
        self._namespace = namespace
        path = api.path("v1", "ServiceAccount", namespace, account)
        token = api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
        self._run = run
        self._config = kubeconfig.write(
            run.path("kubeconfig", f"{account}-{next(_numbers)}"),
            server or plane.server, plane.authority, token, namespace,
        )  # fmt: skip
        self._pod_name = self._config.stem
        self._process: Process | None = None
        self.port = 0

    def start(self, **settings: str) -> None:
        """Start it and return when its caches are synced."""
        self.port = free_port()
        environ = {
            **SHORT_INTERVALS,
            "KUBECONFIG": str(self._config),
            "POD_NAMESPACE": self._namespace,
            "POD_NAME": self._pod_name,
            "OPERATOR_PORT": str(self.port),
            **settings,
        }
        pairs = [f"{name}={value}" for name, value in environ.items()]
        command = ["env", *pairs, sys.executable, "-W", "error", "-m", "fleet_operator"]
        self._process = Process(self._run, f"operator-{next(_numbers)}", command)
        self._process.wait_until(lambda: self.is_ok("/readyz"))

    def is_ok(self, path: str) -> bool:
        """Whether GET of one of the operator's own paths returns 200."""
        try:
            return httpx.get(self._url(path), trust_env=False, timeout=60).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_for_status(self, path: str, status: int) -> None:
        """Wait until one of the operator's own paths returns `status`."""
        until(
            lambda: httpx.get(self._url(path), trust_env=False, timeout=60).status_code == status,
            state=self.log,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def metrics(self) -> str:
        """The metrics as text."""
        return httpx.get(self._url("/metrics"), trust_env=False, timeout=60).text

    def log(self) -> str:
        """The log of the process that was started last."""
        return self._process.tail(LOG_BYTES) if self._process is not None else ""

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

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"
