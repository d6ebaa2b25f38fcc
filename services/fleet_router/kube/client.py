"""The three calls of the Kubernetes API the router makes: list, watch and a merge patch.

Used by `kube_collection` and `kube_wake`.
Source: kubernetes.io/docs/reference/using-api/api-concepts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import orjson

from fleet_router.kube.access import KubeAccess

Json = dict[str, Any]

PAGE = 500
"""Objects in one answer of a list."""
TIMEOUT = 20.0
GONE = 410


class KubeError(Exception):
    """The API could not be reached (`status` 0) or refused; `after` seconds if it said so."""

    def __init__(self, status: int, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.after = after


class KubeClient:
    """One cluster as one account."""

    def __init__(self, access: KubeAccess) -> None:
        self._access = access
        self._http = httpx.AsyncClient(
            base_url=access.server, verify=access.tls, timeout=TIMEOUT, trust_env=False,
            limits=httpx.Limits(max_connections=None),  # every watch keeps one
            headers={"user-agent": "modelfleet-router", "accept": "application/json"},
        )  # fmt: skip

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def list(self, path: str, selector: str) -> tuple[list[Json], str]:
        """Every object of a collection, in pages, and the version to watch from.

        Raises KubeError; status 410 when the list took so long that it must begin again.
        """
        items: list[Json] = []
        params = {"limit": str(PAGE), "labelSelector": selector}
        while True:
            try:
                answer = await self._http.get(path, params=params, headers=self._login())
            except httpx.HTTPError as error:
                raise KubeError(0, f"{type(error).__name__}: {error}") from error
            body = _checked(answer)
            items += body.get("items") or []
            meta = body.get("metadata") or {}
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion", ""))
            params["continue"] = meta["continue"]

    async def watch(
        self, path: str, selector: str, version: str, seconds: int
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Type and object of every event after `version`, bookmarks included, for `seconds`.

        A connection that the other side has forgotten is given up 15 s later. Raises KubeError;
        status 410 when `version` is too old.
        """
        params = {
            "watch": "true", "allowWatchBookmarks": "true", "labelSelector": selector,
            "resourceVersion": version, "timeoutSeconds": str(seconds),
        }  # fmt: skip
        patience = httpx.Timeout(TIMEOUT, read=seconds + 15)
        try:
            async with (
                asyncio.timeout(seconds + 15),
                self._http.stream(
                    "GET", path, params=params, headers=self._login(), timeout=patience
                ) as answer,
            ):
                if answer.status_code != 200:
                    await answer.aread()
                    _checked(answer)
                async for line in answer.aiter_lines():
                    if line:
                        yield _event(line)
        except TimeoutError as error:
            raise KubeError(0, "the watch did not end in time") from error
        except httpx.HTTPError as error:
            raise KubeError(0, f"{type(error).__name__}: {error}") from error

    async def merge_patch(self, path: str, body: Json) -> None:
        """RFC 7386. Raises KubeError."""
        headers = {"content-type": "application/merge-patch+json", **self._login()}
        try:
            answer = await self._http.patch(path, content=orjson.dumps(body), headers=headers)
        except httpx.HTTPError as error:
            raise KubeError(0, f"{type(error).__name__}: {error}") from error
        _checked(answer)

    def _login(self) -> dict[str, str]:
        try:
            token = self._access.bearer()
        except OSError as error:
            raise KubeError(0, f"the token cannot be read: {error}") from error
        return {"authorization": f"Bearer {token}"} if token else {}


def _event(line: str) -> tuple[str, Json]:
    try:
        event = orjson.loads(line)
        kind, item = str(event["type"]), dict(event["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise KubeError(0, f"the watch sent what is no event: {error!r}") from error
    if kind == "ERROR":
        raise KubeError(int(item.get("code") or 0), str(item.get("message", "")))
    return kind, item


def _checked(answer: httpx.Response) -> Json:
    try:
        body = dict(orjson.loads(answer.content))
    except (ValueError, TypeError):
        body = {}
    if answer.status_code < 300 and body:
        return body
    after = answer.headers.get("retry-after", "")
    message = str(body.get("message") or answer.text[:300] or answer.reason_phrase)
    seconds = float(after) if after.isdigit() else 0.0
    raise KubeError(answer.status_code, f"{answer.status_code}: {message}", seconds)
