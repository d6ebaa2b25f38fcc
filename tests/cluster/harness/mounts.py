"""A mount namespace for containerd and kubelet, which isolates their paths from the machine's.

A node other than the first also has a network namespace with it. Both programs use fixed paths (the
kubelet connects to /run/containerd/containerd.sock) and leave mounts behind when killed. Here these
paths are bind mounts of the run's folders and end with the processes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.process import Process
from harness.run import Run

_BOUND = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/cni": "cni",
    "/var/log/pods": "pods",
    "/var/log/containers": "containers",
}
_SHORT_LIVED = ("/run/containerd", "/run/netns")
_KERNEL = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""Settings that the kubelet changes machine-wide; bind-mounted files have them already."""


class Mounts:
    """The namespace, held open by a sleeping process."""

    def __init__(self, run: Run, node: str, images: Path, *, own_network: bool = False) -> None:
        """`node` is the folder of the node's files, `images` that of containerd's images."""
        kinds = ["mnt", *(["net"] if own_network else [])]
        hold = ["unshare", "--mount", "--propagation", "private", "sleep", "infinity"]
        if own_network:
            hold.insert(1, "--net")
        self._holder = Process(run, f"{node}-mounts", hold)
        self._namespaces = {kind: f"/proc/{self._holder.pid}/ns/{kind}" for kind in kinds}
        self._holder.wait_until(self._entered)
        folders = {place: run.path(node, name, "x").parent for place, name in _BOUND.items()}
        for place, source in (folders | {"/var/lib/containerd": images}).items():
            Path(place).mkdir(parents=True, exist_ok=True)
            self._mount("--bind", str(source), place)
        for place in _SHORT_LIVED:
            Path(place).mkdir(parents=True, exist_ok=True)
            self._mount("-t", "tmpfs", "tmpfs", place)
        for setting, value in _KERNEL.items():
            file = run.path(node, "sysctl", setting.replace("/", "."))
            file.write_text(value)
            self._mount("--bind", str(file), f"/proc/sys/{setting}")

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` in the namespace."""
        flags = {"mnt": "--mount", "net": "--net"}
        entered = [f"{flags[kind]}={path}" for kind, path in self._namespaces.items()]
        return ["nsenter", *entered, "--", *map(str, command)]

    @property
    def network(self) -> str:
        """The process that a device is moved to, as the `netns` of `ip link`."""
        return str(self._holder.pid)

    def close(self) -> None:
        """Close the namespace."""
        self._holder.kill()

    def _mount(self, *arguments: str) -> None:
        subprocess.run(self.command("mount", *arguments), check=True)

    def _entered(self) -> bool:
        ours = Path("/proc/self/ns/mnt").readlink()
        command = Path(f"/proc/{self._holder.pid}/cmdline").read_bytes()
        return command.startswith(b"sleep\0") and Path(self._namespaces["mnt"]).readlink() != ours
