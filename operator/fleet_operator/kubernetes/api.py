"""The operator's own client of the Kubernetes API: server-side apply, status, events, lists.

kopf watches; everything written goes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from fleet_operator.kinds import Kind
from fleet_operator.kubernetes.access import Access
from fleet_operator.metrics import Metrics
from fleet_operator.names import FIELD_MANAGER

TIMEOUT_SECONDS = 20.0
CONNECTIONS = 64
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
PAGE = 1000


class ApiError(Exception):
    """The API server refused: HTTP status, Kubernetes' own reason and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnreachable(Exception):
    """The API server did not answer."""


class Api:
    """One session; `close` ends it."""

    def __init__(self, access: Access, metrics: Metrics) -> None:
        self._access = access
        self._metrics = metrics
        connector = aiohttp.TCPConnector(ssl=access.tls or False, limit=CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=5)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        await self._http.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """One object, None where there is none. Raises ApiError, ApiUnreachable."""
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
    ) -> list[dict[str, Any]]:
        """All objects of a kind, page by page. Raises ApiError, ApiUnreachable."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(PAGE)}
        if selector:
            query["labelSelector"] = selector
        if field_selector:
            query["fieldSelector"] = field_selector
        accept = METADATA_ONLY if metadata_only else JSON
        while True:
            page = await self._request(
                "GET", kind, kind.path(namespace), query=query, accept=accept
            )
            found += page["items"] or ()
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    async def apply(
        self, kind: Kind, manifest: Mapping[str, Any], force: bool, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """Server-side apply. Without `force` a field another manager set is a 409 ApiError."""
        meta = manifest["metadata"]
        return await self._request(
            "PATCH",
            kind,
            kind.path(meta.get("namespace"), meta["name"]),
            body=manifest,
            content_type=APPLY,
            query={"fieldManager": manager, "force": "true" if force else "false"},
        )

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Merge patch of the status subresource."""
        return await self._request(
            "PATCH",
            kind,
            f"{kind.path(namespace, name)}/status",
            body=body,
            content_type=MERGE,
            query={"fieldManager": FIELD_MANAGER},
        )

    async def create(self, kind: Kind, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create one object."""
        path = kind.path(manifest["metadata"]["namespace"])
        return await self._request("POST", kind, path, body=manifest)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete one object if it still is the one meant; that it is gone is no error."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", kind, kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind. Raises ApiUnreachable."""
        try:
            found = await self._request("GET", kind, f"/apis/{kind.api_version}")
        except ApiError:
            return False
        return any(item["name"] == kind.plural for item in found.get("resources", ()))

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
        again: bool = True,
    ) -> dict[str, Any]:
        headers = {"Accept": accept, "Content-Type": content_type, **self._access.headers()}
        try:
            async with self._http.request(
                method,
                self._access.server + path,
                data=orjson.dumps(body) if body is not None else None,
                params=query,
                headers=headers,
            ) as answer:
                content, status = await answer.read(), answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self._metrics.api_call(method, kind.plural, 0)
            raise ApiUnreachable(f"{method} {path}: {error or type(error).__name__}") from error
        self._metrics.api_call(method, kind.plural, status)
        if status == 401 and again:
            self._access.refresh()
            return await self._request(
                method,
                kind,
                path,
                body=body,
                query=query,
                content_type=content_type,
                accept=accept,
                again=False,
            )
        return _checked(status, content)


def _checked(status: int, content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except ValueError:
        found = {"message": content[:500].decode(errors="replace")}
    if status < 300 and isinstance(found, dict):
        return found
    said = found if isinstance(found, dict) else {}
    raise ApiError(status, str(said.get("reason", "")), str(said.get("message", "")))
