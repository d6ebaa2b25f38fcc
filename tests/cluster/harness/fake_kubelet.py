"""Simulates the kubelet of nodes that exist only in the API.

Every bound pod becomes ready at once by default; a test sets another `behaviour` or reports pod
statuses itself. Pods that are being deleted are removed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Self

import httpx

from harness import pod_states
from harness.api import STRATEGIC, Api, ApiError, Json
from harness.netns import FAKE_PODS

Behaviour = Callable[[Json, str], Json | None]
"""Returns the status to report for a pod and its address; None reports nothing."""


def report_ready(pod: Json, address: str) -> Json:
    """The default: the pod runs and is ready."""
    return pod_states.running(pod, address)


def report_nothing(_pod: Json, _address: str) -> None:
    """Report nothing."""


class FakeKubelet:
    """Watches one namespace in its own thread while the `with` block runs."""

    _addresses = itertools.count(2)

    def __init__(self, api: Api, namespace: str, behaviour: Behaviour = report_ready) -> None:
        self._api = Api(api.kubeconfig)
        self._namespace = namespace
        self._behaviour = behaviour
        self._reported: set[str] = set()
        self._given: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name=f"kubelet {namespace}")
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._api.__exit__()
        if self.failure is not None:
            raise self.failure

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Replace the behaviour; it is applied to existing pods again."""
        self._behaviour = behaviour
        self._reported.clear()
        for pod in self._api.items("v1", "Pod", self._namespace):
            self._handle(pod)

    @property
    def reported(self) -> int:
        """Number of pods with a reported status."""
        return len(self._reported)

    def address(self, pod: Json) -> str:
        """The pod's address, allocated at the first call; local in the run's namespace."""
        uid = pod["metadata"]["uid"]
        if uid not in self._given:
            self._given[uid] = _nth_address(next(self._addresses))
        return self._given[uid]

    def report(self, pod: Json, status: Json) -> None:
        """Patch a pod's status as its kubelet would."""
        self._api.patch(_reference(pod), {"status": status}, sub="status", content_type=STRATEGIC)

    def _play(self) -> None:
        path = self._api.path("v1", "Pod", self._namespace)
        version: str | None = None
        while not self._stop.is_set():
            try:
                version = self._list(path) if version is None else self._follow(path, version)
            except (httpx.HTTPError, ApiError):
                # The API server is down or restarts, or the version is too old: list again.
                version = None
                self._stop.wait(0.2)
            except BaseException as error:
                self.failure = error
                return

    def _list(self, path: str) -> str:
        listed = self._api.request("GET", path)
        for pod in listed["items"]:
            self._handle(pod)
        return str(listed["metadata"]["resourceVersion"])

    def _follow(self, path: str, version: str) -> str:
        for event, pod in self._api.watch(path, timeout=1, resourceVersion=version):
            version = pod["metadata"]["resourceVersion"]
            if event != "DELETED":
                self._handle(pod)
            if self._stop.is_set():
                break
        return version

    def _handle(self, pod: Json) -> None:
        meta = pod["metadata"]
        if not pod["spec"].get("nodeName"):
            return
        try:
            if meta.get("deletionTimestamp"):
                self._api.delete(_reference(pod), gracePeriodSeconds="0")
            elif meta["uid"] not in self._reported:
                self._reported.add(meta["uid"])
                status = self._behaviour(pod, self.address(pod))
                if status is not None:
                    self.report(pod, status)
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def _reference(pod: Json) -> Json:
    meta = {key: pod["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta}


def _nth_address(number: int) -> str:
    first, second = FAKE_PODS.split(".")[:2]
    return f"{first}.{second}.{number // 250}.{number % 250 + 1}"
