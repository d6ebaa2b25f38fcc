"""Where `modelfleet keys` keeps API keys: a key file, or a Secret of a cluster."""

from __future__ import annotations

import asyncio
import base64
import binascii
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fleet_contract import yaml_text
from fleet_router.callers.keys import parse

if TYPE_CHECKING:
    from fleet_kube.client import Json, KubeClient

Entry = dict[str, Any]
Change = Callable[[list[Entry]], list[Entry]]
SECRET_KEY = "keys.yaml"  # noqa: S105 (the name of the file in the Secret)
MANAGER = "modelfleet-cli"
TRIES = 5
"""How often a change is made again after another one of the same Secret."""


class KeyStore(Protocol):
    """A list of keys. All methods raise ValueError where a router would refuse it, and OSError."""

    def entries(self) -> list[Entry]:
        """The keys."""

    def change(self, change: Change) -> None:
        """Replace the keys by what `change` returns for them; none if there is no list yet."""


@dataclass(frozen=True, slots=True)
class FileStore:
    """A key file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def entries(self) -> list[Entry]:
        """See KeyStore."""
        return read(self.path)

    def change(self, change: Change) -> None:
        """See KeyStore."""
        with _locked(self.path):
            write(self.path, change(read(self.path) if self.path.exists() else []))


@dataclass(frozen=True, slots=True)
class SecretStore:
    """The key `keys.yaml` of a Secret; `namespace` None is that of the kubeconfig's context."""

    name: str
    namespace: str | None
    context: str | None
    environ: Mapping[str, str]

    def __str__(self) -> str:
        return f"Secret {self.name}"

    def entries(self) -> list[Entry]:
        """See KeyStore."""
        found: list[Entry] = self._run(self._entries)
        return found

    def change(self, change: Change) -> None:
        """See KeyStore. A Secret of the chart is refused: an upgrade would undo the change."""

        async def work(client: KubeClient, namespace: str) -> None:
            await self._change(client, namespace, change)

        self._run(work)

    def _run(self, work: Callable[[KubeClient, str], Any]) -> Any:
        """The result of `work` with a client and the namespace."""
        from fleet_kube.client import KubeClient
        from fleet_kube.connection import connect
        from fleet_kube.errors import KubeError

        async def main() -> Any:
            connection = await connect(self.environ, context=self.context)
            client = KubeClient(connection, MANAGER)
            try:
                return await work(client, self.namespace or connection.namespace)
            finally:
                await client.close()

        try:
            return asyncio.run(main())
        except KubeError as error:
            raise ValueError(str(error)) from error

    async def _entries(self, client: KubeClient, namespace: str) -> list[Entry]:
        found = await client.get(_secret(), namespace, self.name)
        if found is None:
            raise ValueError(f"the namespace {namespace} has no such Secret")
        return _decoded(found)

    async def _change(self, client: KubeClient, namespace: str, change: Change) -> None:
        from fleet_kube.errors import ApiError

        for attempt in range(1, TRIES + 1):
            found = await client.get(_secret(), namespace, self.name)
            meta = {"name": self.name, "namespace": namespace}
            labels = (found or {}).get("metadata", {}).get("labels") or {}
            if labels.get("app.kubernetes.io/managed-by") == "Helm":
                raise ValueError(
                    "it is managed by Helm, which would undo the change: add the key to"
                    " `apiKeys.keys`, or name a Secret of your own in `apiKeys.existingSecret`"
                )
            text = yaml_text.dump_all([{"keys": change(_decoded(found) if found else [])}])
            parse(text)
            data = {SECRET_KEY: base64.b64encode(text.encode()).decode()}
            try:
                if found is None:
                    await client.create(
                        _secret(),
                        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data},
                    )
                else:
                    version = found["metadata"]["resourceVersion"]
                    await client.merge_patch(
                        _secret(), namespace, self.name,
                        {"metadata": {"resourceVersion": version}, "data": data},
                    )  # fmt: skip
            except ApiError as error:
                if error.status != 409 or attempt == TRIES:
                    raise
            else:
                return


def _secret() -> Any:
    from fleet_kube.kind import Kind

    return Kind("v1", "Secret", "secrets")


def _decoded(secret: Json) -> list[Entry]:
    """The entries in a Secret; none if it has no such key."""
    encoded = (secret.get("data") or {}).get(SECRET_KEY)
    if encoded is None:
        return []
    try:
        text = base64.b64decode(encoded).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"{SECRET_KEY} is no text") from None
    return _entries(text)


def _entries(text: str) -> list[Entry]:
    parse(text)
    entries: list[Entry] = yaml_text.load(text)["keys"]
    return entries


def read(file: Path) -> list[Entry]:
    """The entries of a key file. Raises ValueError where a router would refuse it, and OSError."""
    return _entries(file.read_text(encoding="utf-8"))


def write(file: Path, entries: list[Entry]) -> None:
    """Replace a key file by one with `entries`, of the same owner; its comments are lost. A new
    one is private.

    Raises ValueError where a router would refuse it, and OSError; the file is then unchanged.
    """
    text = yaml_text.dump_all([{"keys": entries}])
    parse(text)
    target = file.resolve()  # a link stays one
    known = target.stat() if target.exists() else None
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            if known is not None:
                os.fchown(stream.fileno(), known.st_uid, known.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(known.st_mode))
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other `modelfleet keys` from changing the file meanwhile. Raises OSError."""
    folder = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
