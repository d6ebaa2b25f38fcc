"""A connection to the cluster of the options, with errors as the commands print them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fleet_cli.cluster.options import Place
from fleet_contract.names import API_VERSION, KIND, PLURAL
from fleet_kube.client import Json, KubeClient
from fleet_kube.connection import connect
from fleet_kube.errors import ConfigError, KubeError
from fleet_kube.kind import Kind

T = TypeVar("T")

MODEL = Kind(API_VERSION, KIND, PLURAL)
MANAGER = "modelfleet-cli"


@dataclass(frozen=True, slots=True)
class Session:
    """`namespace` is the one to use, "" for all."""

    client: KubeClient
    namespace: str

    async def models(self) -> list[Json]:
        """The InferenceModels. Raises KubeError."""
        return await self.client.items(MODEL, self.namespace or None)

    async def model(self, name: str) -> Json:
        """The InferenceModel with a name, model id or alias. Raises KubeError, and ValueError if
        there is none, or more than one."""
        listed = await self.models()
        found = [one for one in listed if name == one["metadata"]["name"]]
        found = found or [one for one in listed if name in ids_of(one)]
        if len(found) == 1:
            return found[0]
        where = f"the namespace {self.namespace}" if self.namespace else "the cluster"
        if found:
            several = ", ".join(
                f"{one['metadata']['name']} (namespace {one['metadata']['namespace']})"
                for one in found
            )
            raise ValueError(f"{where} has several models {name!r}: {several}; use the name of one")
        known = ", ".join(sorted(one["metadata"]["name"] for one in listed)) or "none"
        raise ValueError(f"{where} has no model {name!r}; its models: {known}")


def ids_of(item: Json) -> list[str]:
    """Model id and aliases of an InferenceModel."""
    spec = item.get("spec") or {}
    resolved = (item.get("status") or {}).get("resolved") or {}
    aliases = spec.get("aliases") or resolved.get("aliases") or []
    return [one for one in (spec.get("model"), resolved.get("model"), *aliases) if one]


def run(place: Place, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
    """The result of `work` with a session. Raises ValueError with the reason of a failure, and what
    `work` raises."""

    async def main() -> T:
        async with _session(place) as session:
            return await work(session)

    try:
        return asyncio.run(main())
    except ConfigError as error:
        raise ValueError(f"{error}; set KUBECONFIG or --kubeconfig") from error
    except KubeError as error:
        raise ValueError(f"cluster: {error}") from error


@asynccontextmanager
async def _session(place: Place) -> AsyncIterator[Session]:
    connection = await connect(place.environ(os.environ), context=place.context)
    client = KubeClient(connection, MANAGER)
    try:
        namespace = connection.namespace if place.namespace is None else place.namespace
        yield Session(client, namespace)
    finally:
        await client.close()
