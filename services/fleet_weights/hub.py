"""Lists a repository of the hub and says which of its files make up the model.

API: huggingface.co/docs/hub/api (GET /api/models/<repo>/revision/<revision>?blobs=true). A branch
is turned into its commit first, so that all files are of one version.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleet_weights.address import Hub, Web
from fleet_weights.allowed import check_name, check_path
from fleet_weights.errors import WeightsError
from fleet_weights.hub_files import Kind, choose
from fleet_weights.plan import File, Piece

if TYPE_CHECKING:
    from fleet_weights.download import Downloader

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository; large files have a `sha256`, small ones git's `blob` id."""

    path: str
    size: int | None
    sha256: str | None
    blob: str | None


def listing_url(address: Hub, downloader: Downloader) -> str:
    """Where the hub lists the repository at the address's revision."""
    repo, revision = quote(address.repo), quote(address.revision, safe="")
    return f"{downloader.web.endpoint}/api/models/{repo}/revision/{revision}?blobs=true"


def files(
    address: Hub, downloader: Downloader, sha256: str | None, kind: Kind | None = None
) -> list[File]:
    """What to download for `address`. Raises WeightsError.

    `sha256` is the spec's own, for an address of one file; `kind` the format of weights to take.
    """
    endpoint, repo = downloader.web.endpoint, quote(address.repo)
    listing = downloader.json(listing_url(address, downloader))
    commit, entries = read(listing, address)
    return [
        File(
            _inside(entry.path, address.path),
            (
                Piece(
                    Web(f"{endpoint}/{repo}/resolve/{quote(commit, safe='')}/{quote(entry.path)}"),
                    sha256 or entry.sha256,
                    entry.size,
                    entry.blob if entry.sha256 is None else None,
                    token=True,
                ),
            ),
            sha256,
        )
        for entry in _wanted(address, entries, sha256, kind)
    ]


def read(listing: Any, address: Hub) -> tuple[str, dict[str, Entry]]:
    """Commit and entries of the hub's answer, or WeightsError when it is not one."""
    try:
        commit = str(listing.get("sha") or address.revision)
        entries = [_entry(raw, address) for raw in listing["siblings"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The listing of hf://{address.repo} is not what a hub answers.", "Check HF_ENDPOINT."
        ) from error
    return commit, {entry.path: entry for entry in entries}


def _entry(raw: dict[str, Any], address: Hub) -> Entry:
    large = raw.get("lfs") or {}
    size = raw.get("size")
    return Entry(
        check_path(raw["rfilename"], f"hf://{address.repo}"),
        size if isinstance(size, int) and size >= 0 else None,
        large.get("sha256"),
        raw.get("blobId") if not large else None,
    )


def _wanted(
    address: Hub, entries: dict[str, Entry], sha256: str | None, kind: Kind | None
) -> list[Entry]:
    if address.path in entries:
        check_name(address.path, entries)
        return [entries[address.path]]
    if sha256 is not None:
        raise WeightsError(
            f"hf://{address.repo} with a sha256 must name one file: {address.path!r} is none."
        )
    prefix = f"{address.path}/" if address.path else ""
    inside = [path.removeprefix(prefix) for path in entries if path.startswith(prefix)]
    return [entries[prefix + path] for path in choose(inside, f"hf://{address.repo}", kind)]


def _inside(path: str, below: str) -> str:
    if path == below:
        return path.rpartition("/")[2]
    return path.removeprefix(f"{below}/") if below else path
