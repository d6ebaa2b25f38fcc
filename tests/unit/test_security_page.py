"""docs/security.md: each protection names the tests that hold it, and they exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
PROTECTIONS = ("Clients", "Weights", "Components in the cluster")
"""Sections in which every paragraph and item has a footnote."""
DEFINITION = re.compile(r"^\[\^([a-z-]+)\]: (.+(?:\n    .+)*)", re.MULTILINE)
REFERENCE = re.compile(r"\[\^([a-z-]+)\](?!:)")
TEST = re.compile(r"`([^`\s]+\.py)(?:::(\w+))?`")


@cache
def text() -> str:
    return PAGE.read_text()


def footnotes() -> dict[str, str]:
    return {name: " ".join(content.split()) for name, content in DEFINITION.findall(text())}


def paragraphs(section: str) -> list[str]:
    """The paragraphs and list items of a section."""
    body = text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [part for part in re.split(r"\n\n|\n(?=\* )", body.strip()) if part.strip()]


def test_every_footnote_is_defined_and_used() -> None:
    used = set(REFERENCE.findall(text()))
    assert used == footnotes().keys()


@pytest.mark.parametrize("section", PROTECTIONS)
def test_every_protection_has_a_footnote(section: str) -> None:
    assert [part[:80] for part in paragraphs(section) if not REFERENCE.search(part)] == []


@pytest.mark.parametrize("name", sorted(footnotes()))
def test_a_footnote_names_tests_that_exist(name: str) -> None:
    found = TEST.findall(footnotes()[name])
    assert found
    for path, function in found:
        file = ROOT / "tests" / path
        assert file.is_file(), path
        if function:
            assert re.search(rf"\bdef {function}\(", file.read_text()), f"{path}::{function}"
        else:
            assert re.search(r"\bdef test_", file.read_text()) or "ATTACKS" in file.read_text()
