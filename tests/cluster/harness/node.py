"""A real node of a control plane: containerd, kubelet, kube-proxy and CoreDNS as processes."""

from __future__ import annotations

import json
from pathlib import Path

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

NAME = "node1"
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/24"
_OPEN_FILES = 20000


class Node:
    """The node, in the run's network namespace, with its own mount namespace."""

    def __init__(self, run: Run, network: Namespace, plane: ControlPlane) -> None:
        self._run = run
        self._plane = plane
        self._processes: list[Process] = []
        self._prepare(network)
        kept = cache_root() / "node-images"
        self._images_lock = try_hold(kept.with_suffix(".lock"))
        images = kept if self._images_lock else run.path("node", "images", "x").parent
        images.mkdir(exist_ok=True)
        self._mounts = Mounts(run, images)
        self.containerd = Containerd(run, self._mounts, self._write_cni().parent)

    def start(self) -> None:
        """Start the other programs and return when the node is ready and Services are routed."""
        kubelet_config = self._write("kubelet.json", self._kubelet_config())
        kubelet = self._start(
            "kubelet",
            *self._mounts.command(
                program("kubelet"),
                f"--config={kubelet_config}",
                f"--kubeconfig={self._plane.kubeconfig_of('node')}",
                f"--hostname-override={NAME}",
                f"--node-ip={NODE_ADDRESS}",
            ),
        )
        self._start("kube-proxy", program("kube-proxy"), f"--config={self._write_proxy()}")
        self._start("coredns", program("coredns"), "-conf", self._write_corefile())
        with Api(self._plane.kubeconfig) as api:
            kubelet.wait_until(lambda: _is_ready(api))

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

    def _prepare(self, network: Namespace) -> None:
        network.route(SERVICES)
        network.sysctl("net.ipv4.ip_forward", "1")
        if Path("/proc/sys/net/bridge").exists():
            network.sysctl("net.bridge.bridge-nf-call-iptables", "1")
        control_groups.create(self._run.cgroup)

    def _start(self, name: str, *command: str | Path) -> Process:
        process = Process(self._run, name, command)
        self._processes.append(process)
        return process

    def _write(self, name: str, content: Json) -> Path:
        path = self._run.path("node", name)
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
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        content = {"cniVersion": "0.4.0", "name": "modelfleet", "plugins": [bridge, ports]}
        return self._write("net.d/10-modelfleet.conflist", content)

    def _kubelet_config(self) -> Json:
        """Anonymous access is allowed: only processes of the namespace reach the kubelet."""
        resolv = self._run.path("node", "resolv.conf")
        resolv.write_text("")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._run.cgroup}",
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "volumePluginDir": str(self._run.path("node", "volume-plugins")),
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
                "hostnameOverride": NAME,
                "clusterCIDR": PODS,
                "clientConnection": {"kubeconfig": str(self._plane.kubeconfig_of("proxy"))},
                "conntrack": untouched,
            },
        )

    def _write_corefile(self) -> Path:
        path = self._run.path("node", "Corefile")
        path.write_text(
            f".:53 {{\n bind {NODE_ADDRESS}\n errors\n"
            f" kubernetes cluster.local {{\n  kubeconfig {self._plane.kubeconfig}\n }}\n}}\n"
        )
        return path


def _is_ready(api: Api) -> bool:
    nodes = api.items("v1", "Node")
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in nodes
        for condition in node["status"].get("conditions", ())
    )
