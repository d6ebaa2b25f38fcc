"""Runs `skaffold dev` without docker on a copy of the project's sources, which tests edit.

buildah builds in the machine's network and pushes in that of the run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from harness import base_image, images
from harness.binaries import program
from harness.locks import exclusive
from harness.netns import Namespace
from harness.paths import REPOSITORY, cache_root
from harness.process import Process
from harness.registry import ADDRESS
from harness.run import Run

SOURCES = ("skaffold.yaml", "Makefile", "images.mk", "chart.mk", "pyproject.toml", "LICENSE",
           "requirements.lock", ".dockerignore", "configs/locks", "services", "operator",
           "charts")  # fmt: skip


class Skaffold:
    """`folder` is the copy watched by skaffold."""

    def __init__(self, run: Run, network: Namespace, kubeconfig: Path) -> None:
        self._run = run
        self._kubeconfig = kubeconfig
        self.folder = run.path("skaffold", "project", "x").parent
        self._home = run.path("skaffold", "home", "x").parent
        for name in SOURCES:
            _copy(REPOSITORY / name, self.folder / name)
        with network.host_network():
            self._programs = [program(name) for name in ("skaffold", "helm", "kubectl")]
            self._builder = self._write_builder(network)
        self._process: Process | None = None

    def dev(self, environ: dict[str, str]) -> Process:
        """Start `skaffold dev -p buildah` in the background."""
        self._process = self._start("dev", environ, "--port-forward=off", "--cleanup=false")
        return self._process

    def stop(self) -> None:
        """Stop dev with SIGINT, as Ctrl-C does."""
        if self._process is not None and self._process.running:
            os.kill(self._process.pid, signal.SIGINT)
            self._process.wait_until(lambda: not self._running())
        self._process = None

    def delete(self, environ: dict[str, str]) -> None:
        """Run `skaffold delete`."""
        command = self._command("delete", environ)
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=600,
            env=self._run.environ,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _running(self) -> bool:
        return self._process is not None and self._process.running

    def _start(self, verb: str, environ: dict[str, str], *flags: str) -> Process:
        command = shlex.join(self._command(verb, environ, *flags))
        shell = ["sh", "-c", f"cd {shlex.quote(str(self.folder))} && exec {command}"]
        return Process(self._run, f"skaffold-{verb}", shell)

    def _command(self, verb: str, environ: dict[str, str], *flags: str) -> list[str]:
        given = {
            "PATH": os.pathsep.join([*(str(p.parent) for p in self._programs), os.environ["PATH"]]),
            "HOME": str(self._home),
            "KUBECONFIG": str(self._kubeconfig),
            "SKAFFOLD_UPDATE_CHECK": "false",
            "SKAFFOLD_INTERACTIVE": "false",
            "SKAFFOLD_DEFAULT_REPO": ADDRESS,
            "BUILDER": str(self._builder),
            "BUILD_FLAGS": images.BUILDAH_FLAGS,
            "PUSH_FLAGS": "--tls-verify=false",
            **environ,
        }
        pairs = [f"{name}={value}" for name, value in given.items()]
        return ["env", *pairs, str(self._programs[0]), verb, "-p", "buildah", *flags]

    def _write_builder(self, network: Namespace) -> Path:
        folder = cache_root() / "images"
        buildah = images.buildah(folder)
        with exclusive(folder / "lock"):
            base_image.ensure(buildah)
        path = self._home / "buildah"
        # Hold the lock of the store: concurrent cleanups could remove layers in use.
        command = f"flock {shlex.quote(str(folder / 'lock'))} {shlex.join(buildah)}"
        path.write_text(
            "#!/bin/sh\n"
            f'[ "$1" != build ] || exec nsenter --net={network.host_path} {command} "$@"\n'
            f'exec {command} "$@"\n'
        )
        path.chmod(0o755)
        return path


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", ".mypy_cache", "*.egg-info")
        shutil.copytree(source, target, ignore=ignored)
    else:
        shutil.copy2(source, target)
