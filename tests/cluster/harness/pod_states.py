"""Pod statuses as reported by a kubelet."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.api import Json
from harness.netns import NODE_ADDRESS


def running(pod: Json, address: str, *, ready: bool = True, restarts: int = 0) -> Json:
    """All containers run; `ready` is the result of their readiness probes."""
    state = {"running": {"startedAt": _now()}}
    return _status(pod, "Running", [state], ready=ready, restarts=restarts, address=address)


def waiting(pod: Json, reason: str, message: str = "", address: str | None = None) -> Json:
    """The container is not running yet: ContainerCreating, ImagePullBackOff, ErrImagePull, ..."""
    state = {"waiting": {"reason": reason, "message": message}}
    return _status(pod, "Pending", [state], ready=False, address=address)


def crash_loop(
    pod: Json, address: str, *, exit_code: int, reason: str, message: str = "", restarts: int = 3
) -> Json:
    """The container failed and waits for its restart; reason Error or OOMKilled."""
    back_off = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
    ended = {"terminated": _ended(exit_code, reason, message)}
    states = [{"waiting": back_off}, ended]
    return _status(pod, "Running", states, ready=False, restarts=restarts, address=address)


def terminated(pod: Json, address: str, *, exit_code: int, reason: str, message: str = "") -> Json:
    """The container has just ended and is not restarted yet."""
    state = {"terminated": _ended(exit_code, reason, message)}
    return _status(pod, "Running", [state], ready=False, address=address)


def evicted(pod: Json, message: str) -> Json:
    """The node evicted the pod because of resource pressure."""
    return {"phase": "Failed", "reason": "Evicted", "message": message, "startTime": _now()}


def _status(
    pod: Json,
    phase: str,
    states: list[Json],
    *,
    ready: bool,
    restarts: int = 0,
    address: str | None = None,
) -> Json:
    """`states` holds the current state and optionally the last one."""
    truth = "True" if ready else "False"
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": "running" in states[0],
            "restartCount": restarts,
            "state": states[0],
            "lastState": states[1] if len(states) > 1 else {},
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": truth,
        "Ready": truth,
    }
    status: Json = {
        "phase": phase,
        "hostIP": NODE_ADDRESS,
        "startTime": _now(),
        "containerStatuses": containers,
        "conditions": [
            {"type": name, "status": value, "lastTransitionTime": _now()}
            for name, value in conditions.items()
        ],
    }
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _ended(exit_code: int, reason: str, message: str) -> Json:
    times = {"startedAt": _now(), "finishedAt": _now()}
    return {"exitCode": exit_code, "reason": reason, "message": message, **times}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
