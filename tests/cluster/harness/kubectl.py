"""Runs kubectl."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness.api import Json
from harness.binaries import program


class KubectlError(Exception):
    """kubectl failed; the message is its output."""


class Kubectl:
    """kubectl with one kubeconfig and one namespace; "" for manifests with several."""

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        chosen = ["-n", namespace] if namespace else []
        self._command = [str(program("kubectl")), f"--kubeconfig={kubeconfig}", *chosen]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return its output. Raises KubectlError."""
        done = subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def apply(self, *manifests: Json) -> str:
        """`kubectl apply` manifests."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self("apply", "-f", "-", stdin=json.dumps(items))

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a kubectl that keeps running, such as a port-forward; the caller terminates it."""
        return subprocess.Popen(
            [*self._command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
