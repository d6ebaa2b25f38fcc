"""The files of the page, by the path at which they are served; read once, into memory."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

PATHS = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/console/app.css": ("app.css", "text/css; charset=utf-8"),
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
    "/console/licenses.txt": ("licenses.txt", "text/plain; charset=utf-8"),
}
"""Name in the folder `static` and media type of each path. Nothing else is served, whatever path a
client sends."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, plain and compressed by gzip, with an entity tag for each of the two."""

    content: bytes
    compressed: bytes
    media_type: str
    tag: str
    compressed_tag: str


def load() -> Mapping[str, File]:
    """Every file by its path. Raises OSError where the package is incomplete."""
    folder = files("fleet_console") / "static"
    return MappingProxyType(
        {
            path: make((folder / name).read_bytes(), media_type)
            for path, (name, media_type) in PATHS.items()
        }
    )


def make(content: bytes, media_type: str) -> File:
    """The file with this content."""
    # Without a time in its header, so that the same content has the same bytes.
    compressed = gzip.compress(content, 9, mtime=0)
    digest = hashlib.sha256(content).hexdigest()[:32]
    return File(content, compressed, media_type, f'"{digest}"', f'"{digest}-gzip"')
