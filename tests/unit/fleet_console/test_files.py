"""The bundle of the page: complete, current, small, and allowed by its own policy."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from fleet_console.files import PATHS, load, make

FOLDER = Path(__file__).parents[3] / "services" / "fleet_console"
MAX_COMPRESSED = 200_000
"""Bytes of all files together, as they are sent."""


def test_every_file_is_loaded_and_nothing_else_lies_there() -> None:
    assert load().keys() == PATHS.keys()
    found = {path.name for path in (FOLDER / "static").iterdir()}
    assert found == {name for name, _ in PATHS.values()} | {"sources.sha256"}


def test_the_bundle_is_that_of_the_sources() -> None:
    """As build.mjs computes it: names and contents in order."""
    web, digest = FOLDER / "web", hashlib.sha256()
    sources = (path for path in web.rglob("*") if path.is_file())
    for name in sorted(path.relative_to(web).as_posix() for path in sources):
        digest.update(f"{name}\n".encode())
        digest.update((web / name).read_bytes())
    recorded = (FOLDER / "static" / "sources.sha256").read_text().strip()
    assert recorded == digest.hexdigest(), "run `make console`"


def test_a_compressed_file_is_the_same_and_has_its_own_tag() -> None:
    file = make(b"x" * 1000, "text/plain")
    assert gzip.decompress(file.compressed) == file.content
    assert file.tag != file.compressed_tag
    assert file == make(b"x" * 1000, "text/plain")
    assert file.tag != make(b"y", "text/plain").tag


def test_the_page_is_small() -> None:
    assert sum(len(file.compressed) for file in load().values()) < MAX_COMPRESSED


def test_the_document_has_no_inline_code_and_names_only_served_files() -> None:
    page = load()["/"].content.decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page) == []
    named = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert named
    assert set(named) <= PATHS.keys()


def test_licences_of_what_is_bundled_lie_beside() -> None:
    text = load()["/console/licenses.txt"].content.decode()
    assert {"preact", "uplot"} <= set(re.findall(r"^(\w+) [\d.]+ \(MIT\)$", text, re.MULTILINE))
    assert text.count("Permission is hereby granted") == 2
