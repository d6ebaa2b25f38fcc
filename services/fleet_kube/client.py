"""Requests of the Kubernetes API on dictionaries: get, list, watch, apply, patch, create, delete.

Source: kubernetes.io/docs/reference/using-api/api-concepts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from fleet_kube.connection import Connection
from fleet_kube.errors import UNAUTHORIZED, ApiError, ApiUnreachable, ConfigError
from fleet_kube.kind import Kind
from fleet_kube.rate_limit import RateLimit

Json = dict[str, Any]
Observe = Callable[[str, str, int], None]
"""Method, plural name and HTTP status of every request; status 0 without a response."""

TIMEOUT_SECONDS = 20.0
CONNECT_SECONDS = 5.0
WATCH_GRACE_SECONDS = 15.0
"""Seconds after the end of a watch until it is aborted, if the API server did not end it."""
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
PAGE = 500
METADATA_PAGE = 1000
"""Objects in one response of a list."""
POD_SECONDS = 5.0
GONE = 410
RECURSION_LIMIT = 12_000
"""The API server accepts and sends objects of 10,000 levels."""
TRIES = 4
"""How often a request is sent if the API server sheds it (429, or 503 with Retry-After)."""
LONGEST_PAUSE = 30.0
VERSION = Kind("v1", "Info", "version", namespaced=False)
"""Not a resource; its plural names the request in metrics."""
POD = Kind("v1", "Pod", "pods")


class KubeClient:
    """One connection; `manager` is the field manager of every write and the User-Agent.

    With a `limit`, requests that the API server sheds are sent again after their Retry-After, and
    all others wait as well. All methods raise ApiError and ApiUnreachable.
    """

    def __init__(
        self,
        connection: Connection,
        manager: str,
        observe: Observe = lambda *_: None,
        limit: RateLimit | None = None,
    ) -> None:
        self._connection = connection
        self._manager = manager
        self._observe = observe
        self._limit = limit
        # Unknown fields are dropped in any case: the default only adds a warning, which costs the
        # API server a third of the time to apply a Deployment.
        self._write_query = {"fieldManager": manager, "fieldValidation": "Ignore"}
        # `json` recurses for each level; kopf parses its watches with it too.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json | None:
        """One object, None if it does not exist."""
        try:
            return await self._request("GET", kind, kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def items(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str = "",
        metadata_only: bool = False,
        field_selector: str = "",
    ) -> list[Json]:
        """All objects of a kind, page by page."""
        found, _ = await self.snapshot(kind, namespace, selector, metadata_only, field_selector)
        return found

    async def snapshot(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str = "",
        metadata_only: bool = False,
        field_selector: str = "",
    ) -> tuple[list[Json], str]:
        """All objects of a kind, and the resourceVersion to watch from.

        Status 410 means that the list took too long and must start again.
        """
        found: list[Json] = []
        version = ""
        pages = self.pages(kind, namespace, selector, metadata_only, field_selector)
        async for items, listed_at in pages:
            found += items
            version = listed_at
        return found, version

    async def pages(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str = "",
        metadata_only: bool = False,
        field_selector: str = "",
    ) -> AsyncGenerator[tuple[list[Json], str], None]:
        """The objects of a kind page by page, each with the resourceVersion of the whole list."""
        query = {"limit": str(METADATA_PAGE if metadata_only else PAGE)}
        if selector:
            query["labelSelector"] = selector
        if field_selector:
            query["fieldSelector"] = field_selector
        accept = METADATA_ONLY if metadata_only else JSON
        while True:
            page = await self._request(
                "GET", kind, kind.path(namespace), query=query, accept=accept
            )
            meta = page.get("metadata") or {}
            yield page.get("items") or [], str(meta.get("resourceVersion", ""))
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    async def watch(
        self, kind: Kind, namespace: str | None, selector: str, version: str, seconds: int
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Type and object of every event after `version`, bookmarks included, for `seconds`.

        Status 410 means that `version` is too old.
        """
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }  # fmt: skip
        if selector:
            query["labelSelector"] = selector
        path = kind.path(namespace)
        limits = aiohttp.ClientTimeout(total=seconds + WATCH_GRACE_SECONDS, connect=CONNECT_SECONDS)
        response = await self._open("GET", kind, path, query, None, JSON, JSON, limits)
        try:
            if response.status != 200:
                _checked(response, await response.read())
            # The package's Watch is not used: it builds a client with a TLS context for each watch,
            # and an ERROR event without `reason` is a KeyError there.
            while line := await response.content.readline():
                if line.strip():
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _unreachable("GET", path, error) from error
        finally:
            response.close()

    async def apply(self, kind: Kind, manifest: Mapping[str, Any], force: bool) -> Json:
        """Server-side apply. Without `force` a field of another manager is a 409 ApiError."""
        meta = manifest["metadata"]
        return await self._request(
            "PATCH",
            kind,
            kind.path(meta.get("namespace"), meta["name"]),
            body=manifest,
            content_type=APPLY,
            query={**self._write_query, "force": "true" if force else "false"},
        )

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Json:
        """RFC 7386 merge patch of an object."""
        return await self._merge_patch(kind, kind.path(namespace, name), body)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Json:
        """RFC 7386 merge patch of the status subresource."""
        return await self._merge_patch(kind, f"{kind.path(namespace, name)}/status", body)

    async def create(self, kind: Kind, manifest: Mapping[str, Any]) -> Json:
        """Create one object."""
        path = kind.path(manifest["metadata"].get("namespace"))
        return await self._request("POST", kind, path, body=manifest, query=self._write_query)

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str, version: str = ""
    ) -> bool:
        """Delete one object if its uid is still `uid`, and its resourceVersion `version`, if given.

        One that is gone is not an error. Returns False if it has another uid or version.
        """
        preconditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        body = {"propagationPolicy": "Background", "preconditions": preconditions}
        try:
            await self._request("DELETE", kind, kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return error.status == 404
        return True

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind. Raises ApiUnreachable only."""
        try:
            found = await self._request("GET", kind, f"/apis/{kind.api_version}")
        except ApiError:
            return False
        return any(item["name"] == kind.plural for item in found.get("resources", ()))

    async def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        found = await self._request("GET", VERSION, "/version")
        # Some providers append a sign, as in `36+`.
        return int(found["major"]), int(re.sub(r"\D.*", "", found["minor"]))

    async def get_from_pod(
        self, namespace: str, name: str, port: int, path: str, limit: int
    ) -> bytes:
        """The body of a GET of `path` at a pod's HTTP server, through the API server.

        Needs the right to get `pods/proxy`. More than `limit` bytes raise ApiUnreachable.
        Source: kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services.
        """
        where = f"{POD.path(namespace, name)}:{port}/proxy{path}"
        limits = aiohttp.ClientTimeout(total=POD_SECONDS, connect=CONNECT_SECONDS)
        response = await self._open("GET", POD, where, {}, None, JSON, "*/*", limits)
        found = bytearray()
        try:
            async for chunk in response.content.iter_chunked(1 << 16):
                found += chunk
                if len(found) > limit:
                    raise ApiUnreachable(f"GET {where}: more than {limit} bytes")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable("GET", where, error) from error
        finally:
            response.close()
        if response.status >= 300:
            _checked(response, bytes(found))
        return bytes(found)

    def _check(self, method: str, kind: Kind, path: str) -> None:
        """Called directly before a request is sent, each time; may raise KubeError to refuse it."""

    async def _merge_patch(self, kind: Kind, path: str, body: Mapping[str, Any]) -> Json:
        return await self._request(
            "PATCH", kind, path, body=body, content_type=MERGE, query=self._write_query
        )

    async def _request(
        self,
        method: str,
        kind: Kind,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Json:
        limits = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
        response = await self._open(method, kind, path, query, body, content_type, accept, limits)
        try:
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(method, path, error) from error
        return _checked(response, content)

    async def _open(
        self,
        method: str,
        kind: Kind,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        accept: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The response of one request; within a rate limit, of its last try."""
        url = self._connection.server + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self._manager}
        for number in range(1, TRIES + 1):
            if self._limit is not None:
                await self._limit.wait()
            response = await self._authorized(method, kind, path, url, headers, body, limits)
            after = _retry_after(response)
            shed = response.status == 429 or (response.status == 503 and after > 0)
            if self._limit is None or not shed or number == TRIES:
                break
            self._limit.pause(min(max(after, 1.0), LONGEST_PAUSE))
            response.close()
        return response

    async def _authorized(
        self,
        method: str,
        kind: Kind,
        path: str,
        url: str,
        headers: dict[str, str],
        body: Any,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The response of one request; after a 401, of a second with renewed credentials."""
        for renewed in (False, True):
            try:
                if authorization := await self._connection.authorization():
                    headers["Authorization"] = authorization
                self._check(method, kind, path)
                response = await self._connection.send(method, url, headers, body, limits)
            except (aiohttp.ClientError, TimeoutError, ConfigError) as error:
                self._observe(method, kind.plural, 0)
                raise _unreachable(method, path, error) from error
            self._observe(method, kind.plural, response.status)
            if response.status != UNAUTHORIZED or renewed:
                break
            response.close()
            await self._renew(authorization)
        return response

    async def _renew(self, rejected: str) -> None:
        try:
            await self._connection.renew(rejected)
        except ConfigError as error:
            raise ApiUnreachable(str(error)) from error


def _unreachable(method: str, path: str, error: Exception) -> ApiUnreachable:
    return ApiUnreachable(f"{method} {path}: {str(error) or type(error).__name__}")


def _event(line: bytes) -> tuple[str, Json]:
    try:
        event = _parsed(line)
        kind, item = str(event["type"]), dict(event["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise ApiUnreachable(f"unexpected watch event: {error!r}") from error
    if kind == "ERROR":
        reason, message = str(item.get("reason", "")), str(item.get("message", ""))
        raise ApiError(int(item.get("code") or 0), reason, message)
    return kind, item


def _parsed(content: bytes) -> Any:
    """Any JSON that the API server sends. Raises ValueError.

    orjson refuses more than 1,024 levels: a single object of one user would break the lists and
    watches of all.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            return json.loads(content)
        except RecursionError as error:
            raise ValueError(str(error)) from error


def _checked(response: aiohttp.ClientResponse, content: bytes) -> Json:
    """The JSON object of a response. Raises ApiError for a status above 299 and for other JSON."""
    try:
        found = _parsed(content)
    except ValueError:
        found = content[:500].decode(errors="replace")
    if response.status < 300 and isinstance(found, dict):
        return found
    status = found if isinstance(found, dict) else {"message": found}
    raise ApiError(
        response.status,
        str(status.get("reason", "")),
        str(status.get("message") or response.reason or ""),
        _retry_after(response),
    )


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds of the Retry-After header, 0 if absent."""
    after = response.headers.get("retry-after", "")
    return float(after) if after.isdigit() else 0.0
