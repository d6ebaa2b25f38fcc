"""Plays the kubelet of nodes that exist only in the API: reports pod states, finishes deletions.

By default every pod that the scheduler binds becomes ready at once; a test gives a `behaviour` to
have it otherwise, or reports states by hand.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Self

import httpx

from harness import pod_states
from harness.api import STRATEGIC, Api, ApiError, Json
from harness.netns import PLAYED_PODS

Behaviour = Callable[[Json, str], Json | None]
"""From a pod and the address it would get to the status to report, or None to say nothing."""


def becomes_ready(pod: Json, address: str) -> Json:
    """The default: it runs and is ready."""
    return pod_states.running(pod, address)


def does_nothing(_pod: Json, _address: str) -> None:
    """Leave the pods to the test."""


class PlayedKubelet:
    """Watches one namespace in a thread of its own while the `with` block lasts."""

    _addresses = itertools.count(2)

    def __init__(self, api: Api, namespace: str, behaviour: Behaviour = becomes_ready) -> None:
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

    def behave(self, behaviour: Behaviour) -> None:
        """Change how pods fare; it is applied anew to every pod, present ones included."""
        self._behaviour = behaviour
        self._reported.clear()
        for pod in self._api.items("v1", "Pod", self._namespace):
            self._handle(pod)

    @property
    def reported(self) -> int:
        """Pods of which something was said."""
        return len(self._reported)

    def address(self, pod: Json) -> str:
        """The pod's address, given at its first mention; local to the run's namespace."""
        uid = pod["metadata"]["uid"]
        if uid not in self._given:
            self._given[uid] = _nth_address(next(self._addresses))
        return self._given[uid]

    def report(self, pod: Json, status: Json) -> None:
        """Write a pod's status as its kubelet would."""
        self._api.patch(_reference(pod), {"status": status}, sub="status", content_type=STRATEGIC)

    def _play(self) -> None:
        path = self._api.path("v1", "Pod", self._namespace)
        version: str | None = None
        while not self._stop.is_set():
            try:
                version = self._list(path) if version is None else self._follow(path, version)
            except (httpx.HTTPError, ApiError):
                # The API server is away or restarts, or the version is too old: list again.
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
    first, second = PLAYED_PODS.split(".")[:2]
    return f"{first}.{second}.{number // 250}.{number % 250 + 1}"
