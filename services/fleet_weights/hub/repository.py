"""Lists a repository of the hub and says which of its files make up the model.

API: huggingface.co/docs/hub/api (GET /api/models/<repo>/revision/<revision>?blobs=true). A branch
is turned into its commit first, so that all files are of one version.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleet_weights.address import Hub, Web
from fleet_weights.allowed import check_name, check_path
from fleet_weights.errors import WeightsError
from fleet_weights.hub.onnx_data import external_files
from fleet_weights.hub.selection import Kind, choose
from fleet_weights.plan import File, FilePart

if TYPE_CHECKING:
    from fleet_weights.transfer.download import Downloader

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
    address: Hub,
    downloader: Downloader,
    sha256: str | None,
    parts_folder: Path | None = None,
    kind: Kind | None = None,
) -> list[File]:
    """What to download for `address`. Raises WeightsError.

    `sha256` is the spec's own, for an address of one file; `kind` is the format of weights to take.
    With `parts`, the folder of downloads, ONNX graphs are brought there first, and the files they
    keep their tensors in are listed too.
    """
    endpoint, repo = downloader.web.endpoint, quote(address.repo)
    listing = downloader.json(listing_url(address, downloader))
    commit, entries = read(listing, address)

    def made(entry: Entry) -> File:
        url = f"{endpoint}/{repo}/resolve/{quote(commit, safe='')}/{quote(entry.path)}"
        blob = entry.blob if entry.sha256 is None else None
        file_part = FilePart(Web(url), sha256 or entry.sha256, entry.size, blob, token=True)
        return File(_inside(entry.path, address.path), (file_part,), sha256)

    wanted = {entry.path: made(entry) for entry in _wanted(address, entries, sha256, kind)}
    if parts_folder is not None and address.path not in entries:
        for path in [path for path in wanted if path.endswith(".onnx")]:
            graph = downloader.get(wanted[path].parts[0], parts_folder)
            for entry in _external(path, graph, entries, address):
                wanted.setdefault(entry.path, made(entry))
    return list(wanted.values())


def _external(path: str, graph: Path, entries: dict[str, Entry], address: Hub) -> list[Entry]:
    """The files that the graph at `path` of the repository keeps its tensors in."""
    beside = path.rpartition("/")[0]
    named = [f"{beside}/{name}" if beside else name for name in external_files(graph)]
    missing = [name for name in named if name not in entries]
    if missing:
        raise WeightsError(
            f"hf://{address.repo} does not hold {missing[0]}, in which {path} keeps tensors.",
            "The repository is incomplete; name another revision.",
        )
    return [entries[name] for name in named]


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
