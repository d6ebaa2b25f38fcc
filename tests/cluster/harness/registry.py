"""A container registry in the run's network: skaffold pushes to it and the node pulls from it.

Debian's docker-registry, with plain HTTP on the loopback interface, which containerd accepts.
"""

from __future__ import annotations

import shutil
from types import TracebackType
from typing import Self

import httpx

from harness.process import Process
from harness.run import Run

PORT = 5000
ADDRESS = f"localhost:{PORT}"


def unavailable() -> str | None:
    """Why the registry cannot run here, or None."""
    if shutil.which("docker-registry"):
        return None
    return "it needs docker-registry: run `make test-deps`"


class Registry:
    """Serves at ADDRESS while the `with` block runs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._process: Process | None = None

    def __enter__(self) -> Self:
        config = self._run.path("registry", "config.yml")
        config.write_text(
            "version: 0.1\nlog: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {config.parent / 'data'}}}}}\n"
            f"http: {{addr: 127.0.0.1:{PORT}}}\n"
        )
        self._process = Process(self._run, "registry", ["docker-registry", "serve", config])
        self._process.wait_until(_responds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()


def _responds() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/v2/", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
