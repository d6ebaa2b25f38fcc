"""A namespace for one test, with methods for objects in it."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from harness.api import WAIT_SECONDS, Api, ApiError, Json
from harness.kubectl import Kubectl

MODELS = "/apis/modelfleet.dev/v1alpha1/namespaces/{}/inferencemodels"
_numbers = itertools.count(1)


class Tenant:
    """Creates the namespace, ready for pods, and deletes it at the end of the `with` block."""

    def __init__(
        self, api: Api, name: str, labels: dict[str, str] | None = None, *, fake_pods: bool = True
    ) -> None:
        """With `fake_pods`, no kubelet ends the pods, so they are deleted without grace period."""
        self.api = api
        self._fake_pods = fake_pods
        readable = re.sub(r"[^a-z0-9]+", "-", name.removeprefix("test_").lower())[:40].strip("-")
        self.namespace = f"{readable}-{os.getpid()}-{next(_numbers)}"
        self.kubectl = Kubectl(api.kubeconfig, self.namespace)
        self._manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": labels or {}},
        }

    def __enter__(self) -> Self:
        self.api.create(self._manifest)
        self.wait("v1", "ServiceAccount", "default", bool)
        return self

    def __exit__(self, *_: object) -> None:
        # Ids have one owner in all namespaces, and a namespace takes a while to be deleted.
        with suppress(ApiError):  # there may be no definition
            self.api.request("DELETE", MODELS.format(self.namespace))
        self.api.delete(self._manifest)
        if not self._fake_pods:
            self.wait_list("v1", "Pod", lambda pods: not pods)
        else:
            pods = self.api.path("v1", "Pod", self.namespace)
            self.api.request("DELETE", pods, params={"gracePeriodSeconds": "0"})

    def create(self, manifest: Json) -> Json:
        """Create an object in this namespace."""
        return self.api.create(self.namespaced(manifest))

    def apply(self, manifest: Json, manager: str = "test") -> Json:
        """Server-side apply an object in this namespace."""
        return self.api.apply(self.namespaced(manifest), manager)

    def get(self, api_version: str, kind: str, name: str) -> Json:
        """Return one object. Raises ApiError."""
        return self.api.get(api_version, kind, self.namespace, name)

    def items(self, api_version: str, kind: str, **params: str) -> list[Json]:
        """Return all objects of a kind."""
        return self.api.items(api_version, kind, self.namespace, **params)

    def wait(
        self,
        api_version: str,
        kind: str,
        name: str,
        until: Callable[[Json | None], object],
        timeout: float = WAIT_SECONDS,
    ) -> Json:
        """Wait until `until(object)` is true; see `Api.wait`."""
        return self.api.wait(api_version, kind, self.namespace, name, until, timeout)

    def wait_list(
        self,
        api_version: str,
        kind: str,
        until: Callable[[list[Json]], object],
        timeout: float = WAIT_SECONDS,
        **params: str,
    ) -> list[Json]:
        """Wait until `until(items)` is true for a collection; see `Api.wait_list`."""
        return self.api.wait_list(api_version, kind, self.namespace, until, timeout, **params)

    def namespaced(self, manifest: Json) -> Json:
        """A copy of the manifest with this namespace."""
        copy: dict[str, Any] = json.loads(json.dumps(manifest))
        copy["metadata"]["namespace"] = self.namespace
        return copy
