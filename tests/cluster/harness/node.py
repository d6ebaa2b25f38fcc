"""Real nodes of a control plane: containerd, kubelet, kube-proxy and CoreDNS as processes.

The first one is in the run's network namespace, a second one in its own, with routes between them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness import control_groups
from harness.api import Api, Json
from harness.binaries import program
from harness.containerd import SOCKET, Containerd
from harness.control_plane import ControlPlane
from harness.images import Image
from harness.locks import try_hold
from harness.mounts import Mounts
from harness.netns import NODE_ADDRESS, Namespace
from harness.paths import cache_root
from harness.process import Process
from harness.run import Run

SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
_OPEN_FILES = 20000


@dataclass(frozen=True, slots=True)
class Place:
    """Name and addresses of a node; `gateway` is the first node's end of the link to it."""

    name: str
    address: str
    pods: str
    gateway: str = ""


FIRST = Place("node1", NODE_ADDRESS, "10.244.0.0/24")
SECOND = Place("node2", "10.89.1.2", "10.244.1.0/24", gateway="10.89.1.1")
_LINK = ("mf-link1", "mf-link2")
"""Ends of the link between the nodes."""


class Node:
    """A node with its own mount namespace. The first one runs the DNS server of both."""

    def __init__(
        self, run: Run, network: Namespace, plane: ControlPlane, first: Node | None = None
    ) -> None:
        """A second node has the images of the `first`."""
        self.place = FIRST if first is None else SECOND
        self._run = run
        self._plane = plane
        self._processes: list[Process] = []
        self._images_lock: IO[str] | None = None
        self._prepare(network)
        images = self._images() if first is None else first.copied_images(self.place.name)
        self._mounts = Mounts(run, self.place.name, images, own_network=first is not None)
        if first is not None:
            self._link(network)
        cni = self._write_cni().parent
        self.containerd = Containerd(run, self.place.name, self._mounts, cni)

    def start(self) -> None:
        """Start the other programs and return when the node is ready and Services are routed."""
        name = self.place.name
        kubelet_config = self._write("kubelet.json", self._kubelet_config())
        kubelet = self._start(
            "kubelet",
            program("kubelet"),
            f"--config={kubelet_config}",
            f"--kubeconfig={self._plane.kubeconfig_of(name)}",
            f"--hostname-override={name}",
            f"--node-ip={self.place.address}",
        )
        self._start("kube-proxy", program("kube-proxy"), f"--config={self._write_proxy()}")
        if self.place is FIRST:
            self._start("coredns", program("coredns"), "-conf", self._write_corefile())
        with Api(self._plane.kubeconfig) as api:
            kubelet.wait_until(lambda: is_ready(api, name))

    def load(self, image: Image) -> str:
        """Load the image on the node and return its reference."""
        self.containerd.load(image.reference, image.archive)
        return image.reference

    def stop(self) -> None:
        """Kill all programs; `leftovers.remove` kills the processes of pods."""
        while self._processes:
            self._processes.pop().kill()
        self.containerd.stop()
        self._mounts.close()
        if self._images_lock is not None:
            self._images_lock.close()

    def lose(self) -> None:
        """Cut the link to the node and kill everything on it, as when it loses its power: nothing
        that is sent to it gets a response, not even a refusal."""
        subprocess.run(["ip", "link", "set", _LINK[0], "down"], check=True)
        while self._processes:
            self._processes.pop().kill()
        self.containerd.stop()
        for file in Path("/sys/fs/cgroup").rglob(f"{self._cgroup}/**/cgroup.procs"):
            for pid in file.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def copied_images(self, name: str) -> Path:
        """A copy of this node's images for the node `name`, by hard links: layers never change."""
        folder = self._run.path(name, "images")
        with self.containerd.paused():
            subprocess.run(["cp", "-al", str(self._images_folder), str(folder)], check=True)
            for database in folder.glob("*/*.db"):  # containerd's own
                content = database.read_bytes()
                database.unlink()
                database.write_bytes(content)
        return folder

    @property
    def _cgroup(self) -> str:
        """Control group of the node's pods."""
        return self._run.cgroup + ("" if self.place is FIRST else f"/{self.place.name}")

    def _images(self) -> Path:
        """The folder of images that is kept, unless another run uses it."""
        kept = cache_root() / "node-images"
        self._images_lock = try_hold(kept.with_suffix(".lock"))
        own = self._run.path(self.place.name, "images", "x").parent
        images = kept if self._images_lock else own
        images.mkdir(exist_ok=True)
        self._images_folder = images
        return images

    def _prepare(self, network: Namespace) -> None:
        if self.place is FIRST:
            network.route(SERVICES)
            network.sysctl("net.ipv4.ip_forward", "1")
            if Path("/proc/sys/net/bridge").exists():
                network.sysctl("net.bridge.bridge-nf-call-iptables", "1")
        control_groups.create(self._cgroup)

    def _link(self, network: Namespace) -> None:
        """Connect the namespaces of both nodes, and route their pods."""
        here, there = _LINK
        network.link(here, there, self._mounts.network, f"{self.place.gateway}/24")
        network.route_by(self.place.pods, self.place.address)
        for line in (
            "ip link set lo up",
            f"ip addr add {self.place.address}/24 dev {there}",
            f"ip link set {there} up",
            f"ip route add default via {self.place.gateway}",
            "tee /proc/sys/net/ipv4/ip_forward",
            *(["tee /proc/sys/net/bridge/bridge-nf-call-iptables"]
              if Path("/proc/sys/net/bridge").exists() else []),
        ):  # fmt: skip
            command = self._mounts.command(*line.split())
            subprocess.run(command, check=True, input=b"1", stdout=subprocess.DEVNULL)

    def _start(self, name: str, *command: str | Path) -> Process:
        """Start a program in the node's namespaces."""
        process = Process(self._run, f"{self.place.name}-{name}", self._mounts.command(*command))
        self._processes.append(process)
        return process

    def _write(self, name: str, content: Json) -> Path:
        path = self._run.path(self.place.name, name)
        path.write_text(json.dumps(content, indent=1))
        return path

    def _write_cni(self) -> Path:
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": self.place.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        content = {"cniVersion": "0.4.0", "name": "modelfleet", "plugins": [bridge, ports]}
        return self._write("net.d/10-modelfleet.conflist", content)

    def _kubelet_config(self) -> Json:
        """Anonymous access is allowed: only processes of the namespace reach the kubelet."""
        resolv = self._run.path(self.place.name, "resolv.conf")
        resolv.write_text("")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "volumePluginDir": str(self._run.path(self.place.name, "volume-plugins")),
            "resolvConf": str(resolv),
            "clusterDomain": "cluster.local",
            "clusterDNS": [NODE_ADDRESS],
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "readOnlyPort": 0,
            "oomScoreAdj": 0,
            "maxOpenFiles": _OPEN_FILES,
            "makeIPTablesUtilChains": False,
            "imageGCHighThresholdPercent": 100,
            # Else a loaded image counts as missing once the same image was pulled.
            "imagePullCredentialsVerificationPolicy": "NeverVerify",
            "evictionHard": {
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
            },
            "serializeImagePulls": False,
            "syncFrequency": "10s",
        }

    def _write_proxy(self) -> Path:
        # The conntrack limits are those of the whole machine, so they are not changed.
        untouched: Json = {"maxPerCore": 0, "min": 0}
        untouched |= {"tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
        return self._write(
            "proxy.json",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "hostnameOverride": self.place.name,
                "clusterCIDR": PODS,
                "clientConnection": {"kubeconfig": str(self._plane.kubeconfig_of("proxy"))},
                "conntrack": untouched,
            },
        )

    def _write_corefile(self) -> Path:
        path = self._run.path(self.place.name, "Corefile")
        path.write_text(
            f".:53 {{\n bind {NODE_ADDRESS}\n errors\n"
            f" kubernetes cluster.local {{\n  kubeconfig {self._plane.kubeconfig}\n }}\n}}\n"
        )
        return path


def is_ready(api: Api, name: str) -> bool:
    """Whether the node of this name is ready."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in api.items("v1", "Node")
        if node["metadata"]["name"] == name
        for condition in node["status"].get("conditions", ())
    )
