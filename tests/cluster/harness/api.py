"""A small synchronous client of the Kubernetes API.

The tests do not use the product's client, so that they observe the cluster independently of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from harness import kubeconfig

Json = dict[str, Any]
"""A Kubernetes object, or part of one."""
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
BUSY_SECONDS = 60.0
WAIT_SECONDS = 180.0
"""Long enough for a busy machine: a wait ends as soon as its condition is true."""


class ApiError(Exception):
    """An error response of the API server: HTTP `status` and Kubernetes' `reason`."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Api:
    """Client of one cluster with the credentials of a kubeconfig."""

    def __init__(self, config: Path) -> None:
        access = kubeconfig.read(config)
        headers = {"authorization": f"Bearer {access.token}"} if access.token else {}
        self.kubeconfig = config
        self._http = httpx.Client(
            base_url=access.server, verify=access.tls, headers=headers, timeout=120, trust_env=False
        )
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a request and return the response as JSON. Raises ApiError.

        As kubectl does, a request that is answered with 429, for example after a change of a
        definition, is sent again.
        """
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            answer = self._http.request(
                method,
                path,
                content=None if body is None else json.dumps(body),
                headers={"content-type": content_type},
                params=params,
            )
            if answer.status_code != 429 or time.monotonic() > deadline:
                return _checked(answer.status_code, answer.content)
            time.sleep(float(answer.headers.get("retry-after", 1)))

    def path(self, api_version: str, kind: str, namespace: str | None, name: str = "") -> str:
        """Path of a collection, or of an object if `name` is given."""
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        plural, namespaced = self._resource(root, kind)
        middle = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{root}{middle}/{plural}" + (f"/{name}" if name else "")

    def path_of(self, manifest: Json) -> str:
        """Path of the object that a manifest describes."""
        meta = manifest["metadata"]
        return self.path(
            manifest["apiVersion"], manifest["kind"], meta.get("namespace"), meta["name"]
        )

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Json:
        """Return one object. Raises ApiError, with status 404 if it does not exist."""
        return self.request("GET", self.path(api_version, kind, namespace, name))

    def items(
        self, api_version: str, kind: str, namespace: str | None = None, **params: str
    ) -> list[Json]:
        """The items of a collection with kind and version; `params` such as labelSelector."""
        answer = self.request("GET", self.path(api_version, kind, namespace), params=params)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def create(self, manifest: Json) -> Json:
        """Create the object."""
        return self.request("POST", self.path_of(manifest).rsplit("/", 1)[0], manifest)

    def apply(self, manifest: Json, manager: str = "test") -> Json:
        """Server-side apply; takes over fields of other managers."""
        params = {"fieldManager": manager, "force": "true"}
        return self.request(
            "PATCH", self.path_of(manifest), manifest, content_type=APPLY, params=params
        )

    def patch(self, manifest: Json, body: Any, *, sub: str = "", content_type: str = MERGE) -> Json:
        """Patch the object, or its subresource `sub`."""
        path = self.path_of(manifest) + (f"/{sub}" if sub else "")
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, manifest: Json, **params: str) -> None:
        """Delete the object; no error if it does not exist."""
        try:
            self.request("DELETE", self.path_of(manifest), params=params)
        except ApiError as error:
            if error.status != 404:
                raise

    def watch(self, path: str, timeout: float, **params: str) -> Iterator[tuple[str, Json]]:
        """Yield the events of a collection for `timeout` seconds.

        Without `resourceVersion`, the existing objects come first as ADDED.
        """
        query = {"watch": "true", "timeoutSeconds": str(max(1, int(timeout))), **params}
        with (
            # A busy API server may end the watch late; the client's timeout is accepted as the end
            # too.
            suppress(httpx.ReadTimeout),
            self._http.stream("GET", path, params=query, timeout=timeout + 5) as answer,
        ):
            if answer.status_code != 200:
                _checked(answer.status_code, answer.read())
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status["code"], status.get("reason", ""), status["message"])
                yield event["type"], event["object"]

    def wait(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        until: Callable[[Json | None], object],
        timeout: float = WAIT_SECONDS,
    ) -> Json:
        """Wait until `until(object)` is true; the argument is None if the object does not exist.

        Returns the last state of the object, {} if it does not exist. Raises TimeoutError with that
        state.
        """
        collection = self.path(api_version, kind, namespace)
        deadline = time.monotonic() + timeout
        found: Json | None = None
        while (left := deadline - time.monotonic()) > 0:
            listed = self.request(
                "GET", collection, params={"fieldSelector": f"metadata.name={name}"}
            )
            found = listed["items"][0] if listed["items"] else None
            if until(found):
                return found or {}
            version = listed["metadata"]["resourceVersion"]
            selector = f"metadata.name={name}"
            for kind_of_event, item in self.watch(
                collection, left, fieldSelector=selector, resourceVersion=version
            ):
                found = None if kind_of_event == "DELETED" else item
                if until(found):
                    return found or {}
        raise TimeoutError(
            f"{kind} {name}: not as awaited after {timeout:.0f} s; it is\n"
            + json.dumps(found, indent=1)
        )

    def wait_list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        until: Callable[[list[Json]], object],
        timeout: float = WAIT_SECONDS,
        **params: str,
    ) -> list[Json]:
        """Wait until `until(items)` is true for a collection. Raises TimeoutError with the last
        state.
        """
        collection = self.path(api_version, kind, namespace)
        deadline = time.monotonic() + timeout
        items: list[Json] = []
        while (left := deadline - time.monotonic()) > 0:
            listed = self.request("GET", collection, params=params)
            items = listed["items"]
            if until(items):
                return items
            version = listed["metadata"]["resourceVersion"]
            for _ in self.watch(collection, left, resourceVersion=version, **params):
                break
        raise TimeoutError(
            f"{kind}s: not as awaited after {timeout:.0f} s; they are\n"
            + json.dumps(items, indent=1)
        )

    def _resource(self, root: str, kind: str) -> tuple[str, bool]:
        if (root, kind) not in self._plurals:
            for item in self.request("GET", root)["resources"]:
                if "/" not in item["name"]:
                    self._plurals[root, item["kind"]] = item["name"], item["namespaced"]
        return self._plurals[root, kind]


def _checked(status: int, content: bytes) -> Json:
    if status < 300:
        return json.loads(content) if content.startswith(b"{") else {"text": content.decode()}
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    message = body.get("message") or content[:500].decode(errors="replace")
    raise ApiError(status, body.get("reason", ""), message)
