"""Starts containerd and imports images into it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.archive import PAUSE, pause
from harness.mounts import Mounts
from harness.process import Process
from harness.run import Run

SOCKET = "/run/containerd/containerd.sock"

_CONFIG = f"""\
version = 2
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{{cni}}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
# restrict_oom_score_adj: if root may not lower the score, no pod would start without it.


class Containerd:
    """A running containerd with the pause image in it."""

    def __init__(self, run: Run, node: str, mounts: Mounts, cni: Path) -> None:
        """`node` is the folder of the node's files."""
        self._run = run
        self._name = f"{node}-containerd"
        self._mounts = mounts
        self._config = run.path(node, "containerd.toml")
        self._config.write_text(_CONFIG.format(cni=cni))
        self._process = self._start()
        self._remove_containers()
        archive = run.path(node, "pause.tar")
        pause(archive)
        self.load(PAUSE, archive)

    def load(self, reference: str, archive: Path) -> None:
        """Import the image of an archive and remove older images with the same name."""
        present = self.ctr("images", "ls", "--quiet").split()
        if reference not in present:
            self.ctr("images", "import", str(archive))
        name = f"{reference.rpartition(':')[0]}:"
        for old in present:
            if old.startswith(name) and old != reference:
                self.ctr("images", "rm", old)

    def tag(self, reference: str, alias: str) -> None:
        """Tag an image with a second name."""
        self.ctr("images", "tag", "--force", reference, alias)

    def ctr(self, *arguments: str) -> str:
        """Run `ctr` in the namespace of Kubernetes' containers and return its output."""
        done = subprocess.run(
            self._mounts.command("ctr", "--namespace", "k8s.io", *arguments),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop containerd from writing to its files within the block."""
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Kill containerd; `leftovers` kills the processes of pods."""
        self._process.kill()

    def _start(self) -> Process:
        process = Process(
            self._run, self._name, self._mounts.command("containerd", "--config", self._config)
        )
        process.wait_until(self._responds)
        return process

    def _remove_containers(self) -> None:
        """Remove containers of earlier runs; their images are kept."""
        if left := self.ctr("containers", "ls", "--quiet").split():
            self.ctr("containers", "rm", *left)
            self._process.kill()
            self._process = self._start()

    def _responds(self) -> bool:
        command = self._mounts.command("ctr", "version")
        return subprocess.run(command, capture_output=True).returncode == 0
