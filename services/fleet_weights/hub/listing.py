"""Lists a repository of the hub and reads its small JSON documents, before any weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from fleet_weights import gguf_names
from fleet_weights.address import Hub
from fleet_weights.errors import WeightsError
from fleet_weights.hub import repository
from fleet_weights.hub.selection import choose
from fleet_weights.transfer.download import Downloader
from fleet_weights.transfer.progress import ProgressTracker
from fleet_weights.transfer.retry_policy import RETRY_POLICY, RetryPolicy

Wanted = Callable[[frozenset[str], Mapping[str, Any]], list[str]]
"""From all names and the documents read so far to the names of those to read next."""

MAX_DOCUMENTS = 64


def list_repository(
    address: Hub,
    wanted: Wanted,
    environ: Mapping[str, str],
    *,
    stop: threading.Event | None = None,
    retry_policy: RetryPolicy = RETRY_POLICY,
) -> tuple[frozenset[str], dict[str, Any]]:
    """Names of the files below the address, and the parsed documents chosen by `wanted`.

    `environ` has HF_TOKEN, HF_ENDPOINT and proxies. Raises WeightsError where the hub refuses the
    request or the repository has no weights in a supported format.
    """
    documents: dict[str, Any] = {}
    with Downloader(environ, ProgressTracker(None, stop), retry_policy) as downloader:
        commit, entries = repository.read(
            downloader.json(repository.listing_url(address, downloader)), address
        )
        if address.path in entries:
            beside = gguf_names.projector_beside(address.path, entries)
            found = {address.path, beside} if beside is not None else {address.path}
            return frozenset(path.rpartition("/")[2] for path in found), documents
        prefix = f"{address.path}/" if address.path else ""
        names = frozenset(path.removeprefix(prefix) for path in entries if path.startswith(prefix))
        choose(sorted(names), f"hf://{address.repo}")
        while missing := wanted(names, documents):
            for name in missing:
                if len(documents) >= MAX_DOCUMENTS:
                    raise WeightsError(f"hf://{address.repo} has too many modules.")
                documents[name] = downloader.json(
                    f"{downloader.web.endpoint}/{quote(address.repo)}/resolve/"
                    f"{quote(commit, safe='')}/{quote(prefix + name)}"
                )
    return names, documents
