"""Decides which tiers can run here; the reasons name the remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from harness import netns
from support import required

PACKAGES = (
    "containerd runc containernetworking-plugins iptables nftables conntrack buildah debootstrap "
    "iproute2 ca-certificates"
)
_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "ip": "iproute2",
}


def existing_cluster() -> Path | None:
    """The kubeconfig of an existing cluster to use, from MODELFLEET_TEST_KUBECONFIG."""
    named = os.environ.get("MODELFLEET_TEST_KUBECONFIG")
    return Path(named).resolve() if named else None


def node_unavailable() -> str | None:
    """Why a real node cannot run here, with the remedy, or None."""
    if sys.platform != "linux":
        return f"it needs Linux, and this is {platform.system()}: run it in a Linux machine"
    if os.geteuid() != 0:
        return "it needs root: run `sudo make test-cluster`"
    if not _full_root():
        return "it needs root of the machine, not of a user namespace: run `sudo make test-cluster`"
    missing = [package for name, package in _PROGRAMS.items() if not shutil.which(name)]
    if not Path("/usr/lib/cni/bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        return f"it needs the packages {', '.join(missing)}: run `make test-deps`"
    return None


def did_not_run(tier: str, why: str) -> NoReturn:
    """Skip the tier; fail in CI, where every tier must run."""
    required.did_not_run(f"the {tier} did not run: {why}")


def namespace_unavailable() -> str | None:
    """Why the cluster cannot have its own network namespace, or None."""
    why = netns.unavailable()
    if why is None and not shutil.which("ip"):
        return "network namespaces need the package iproute2: run `make test-deps`"
    return why


def _full_root() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
