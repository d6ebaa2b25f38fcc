"""etcd, API server, controller manager and scheduler as processes of a run."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import httpx

from harness import kubeconfig
from harness.api import Api, ApiError
from harness.binaries import program
from harness.process import Process
from harness.run import Run
from support.ports import free_ports

_USERS = {
    "admin": ("admin", "system:masters"),
    "proxy": ("system:kube-proxy",),
    "node1": ("system:node:node1", "system:nodes"),
    "node2": ("system:node:node2", "system:nodes"),
}
_UNROUTED = "192.0.2.1"
"""An address for documentation: the API server does not advertise a loopback address."""


class ControlPlane:
    """A running control plane.

    `address` is the address to listen on, None for loopback. Without `real_nodes`, tests write the
    node objects, and nodes without heartbeats are not tainted and their pods not evicted.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        address: str | None,
        services: str,
        *,
        real_nodes: bool,
        requests_per_second: int | None = None,
    ) -> None:
        """`requests_per_second` limits the requests of controllers and scheduler to the API server;
        None keeps their defaults, 20 and 50.
        """
        self._requests_per_second = requests_per_second
        self._run = run
        self._name = name
        self._address = address
        self._services = services
        self._real_nodes = real_nodes
        self._folder = run.path(name, "x").parent
        self._etcd_port, self._peer_port, self._port = free_ports(3)
        self._tokens = {user: secrets.token_hex(16) for user in _USERS}
        self._processes: dict[str, Process] = {}
        self.server = f"https://{address or '127.0.0.1'}:{self._port}"

    @property
    def authority(self) -> Path:
        """The self-signed certificate of the API server."""
        return self._folder / "apiserver" / "apiserver.crt"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by program name."""
        return {name: process.pid for name, process in self._processes.items()}

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster administrator."""
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, user: str) -> Path:
        """Kubeconfig of admin, proxy or a node, by its name."""
        return self.kubeconfig_with(user, self._tokens[user])

    def kubeconfig_with(self, name: str, token: str, namespace: str = "default") -> Path:
        """Kubeconfig with a bearer token, such as one of a ServiceAccount."""
        path = self._folder / f"{name}.kubeconfig"
        return kubeconfig.write(path, self.server, self.authority, token, namespace)

    def start(self) -> None:
        """Start all programs and return when pods can be created."""
        self._write_credentials()
        self._start_etcd()
        self.start_apiserver()
        shared = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        if self._requests_per_second is not None:
            often = self._requests_per_second
            shared += [f"--kube-api-qps={often}", f"--kube-api-burst={2 * often}"]
        self._start(
            "kube-controller-manager",
            *shared,
            f"--service-account-private-key-file={self._folder / 'sa.key'}",
            f"--root-ca-file={self.authority}",
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=0s",
            *([] if self._real_nodes else ["--controllers=*,-node-lifecycle-controller"]),
        )
        self._start("kube-scheduler", *shared)
        with Api(self.kubeconfig) as api:
            api.wait("v1", "ServiceAccount", "default", "default", bool)

    def start_apiserver(self) -> None:
        """Start the API server and return when it is ready; the other programs reconnect."""
        process = self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={'0.0.0.0' if self._address else '127.0.0.1'}",
            f"--advertise-address={self._address or _UNROUTED}",
            f"--secure-port={self._port}",
            f"--cert-dir={self._folder / 'apiserver'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={self._services}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'sa.key'}",
            f"--service-account-signing-key-file={self._folder / 'sa.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            *([] if self._real_nodes else ["--disable-admission-plugins=TaintNodesByCondition"]),
        )
        process.wait_until(lambda: self.authority.exists() and self._ready())

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop only the API server."""
        process = self._processes.pop("kube-apiserver")
        if kill:
            process.kill()
        else:
            process.stop()

    def stop(self) -> None:
        """Kill all programs; their state is not needed any more."""
        while self._processes:
            self._processes.popitem()[1].kill()

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        self._start(
            "etcd",
            "--name=test",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ).wait_until(lambda: _responds(f"{client}/health"))

    def _start(self, name: str, *arguments: str) -> Process:
        process = Process(self._run, f"{self._name}-{name}", [program(name), *arguments])
        self._processes[name] = process
        return process

    def _write_credentials(self) -> None:
        key = self._folder / "sa.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True
        )
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(
            "".join(
                ",".join((self._tokens[user], name, user, *groups)) + "\n"
                for user, (name, *groups) in _USERS.items()
            )
        )

    def _ready(self) -> bool:
        """Whether /readyz returns ok over TLS with the administrator's token."""
        with Api(self.kubeconfig) as api:
            try:
                return bool(api.request("GET", "/readyz")["text"] == "ok")
            except (httpx.HTTPError, ApiError, OSError):
                return False


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=30).is_success
    except httpx.HTTPError:
        return False
