"""Runs kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.api import Json
from harness.binaries import program


class KubectlError(Exception):
    """kubectl failed; the message is its output."""


class Kubectl:
    """kubectl with one kubeconfig and one namespace; "" for manifests with several."""

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        chosen = ["-n", namespace] if namespace else []
        self._options = [f"--kubeconfig={kubeconfig}", *chosen]
        self._command = [str(program("kubectl")), *self._options]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run kubectl and return its output. Raises KubectlError."""
        return _run([*self._command, *arguments], stdin, timeout)

    def modelfleet(self, *arguments: str, timeout: float = 240) -> str:
        """Run the plugin `kubectl modelfleet`, which the package installs. Raises KubectlError.

        It waits for models, so it has as long as the waits of tests.
        """
        # kubectl refuses options before the name of a plugin.
        command = [self._command[0], "modelfleet", *arguments, *self._options]
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        return _run(command, None, timeout, PATH=os.pathsep.join(places))

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


def _run(command: list[str], stdin: str | None, timeout: float, **environ: str) -> str:
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout,
            env={**os.environ, **environ},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        printed = b"".join(filter(None, (error.stdout, error.stderr))).decode()
        raise KubectlError(f"{command[1:3]} has not ended in {timeout:g} s: {printed}") from error
    if done.returncode != 0:
        raise KubectlError(done.stderr.strip() or done.stdout.strip())
    return done.stdout
