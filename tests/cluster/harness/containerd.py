"""containerd of the node: `node` starts it and imports images into it."""

from __future__ import annotations

import subprocess
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
# restrict_oom_score_adj: where root may not lower the score, no pod would start without it.


class Containerd:
    """A running containerd with the pause image in it."""

    def __init__(self, run: Run, mounts: Mounts, cni: Path) -> None:
        self._run = run
        self._mounts = mounts
        self._config = run.path("node", "containerd.toml")
        self._config.write_text(_CONFIG.format(cni=cni))
        self._process = self._start()
        self._forget_containers()
        archive = run.path("node", "pause.tar")
        pause(archive)
        self.load(PAUSE, archive)

    def load(self, reference: str, archive: Path) -> None:
        """Have the image of an archive for the kubelet to find; older ones of its name go."""
        present = self.ctr("images", "ls", "--quiet").split()
        if reference not in present:
            self.ctr("images", "import", str(archive))
        name = f"{reference.rpartition(':')[0]}:"
        for old in present:
            if old.startswith(name) and old != reference:
                self.ctr("images", "rm", old)

    def tag(self, reference: str, alias: str) -> None:
        """Have an image that is there under another name too."""
        self.ctr("images", "tag", "--force", reference, alias)

    def ctr(self, *arguments: str) -> str:
        """What `ctr` prints, in the namespace that Kubernetes' containers are in."""
        done = subprocess.run(
            self._mounts.inside("ctr", "--namespace", "k8s.io", *arguments),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def stop(self) -> None:
        """End containerd; the pods' processes are left to `leftovers`."""
        self._process.kill()

    def _start(self) -> Process:
        process = Process(
            self._run, "containerd", self._mounts.inside("containerd", "--config", self._config)
        )
        process.wait_until(self._answers)
        return process

    def _forget_containers(self) -> None:
        """The images of earlier runs are welcome, what is left of their pods is not."""
        if left := self.ctr("containers", "ls", "--quiet").split():
            self.ctr("containers", "rm", *left)
            self._process.kill()
            self._process = self._start()

    def _answers(self) -> bool:
        command = self._mounts.inside("ctr", "version")
        return subprocess.run(command, capture_output=True).returncode == 0
