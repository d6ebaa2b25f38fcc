"""The printed table and the written files."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from fleet_bench.compare.results.files import write_pictures, write_tables
from fleet_bench.compare.results.outcome import ModelComparison
from fleet_bench.compare.results.report import markdown, short, table
from fleet_bench.compare.sides.machine import machine


def test_the_table(outcomes: list[ModelComparison]) -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(table(outcomes[0]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("A: transformers", "22.0 (20.0 to 24.0)", "3.00 times", "2.75 times", "7 of 8"):
        assert text in printed


def test_markdown_has_every_cell_and_regular_tables(outcomes: list[ModelComparison]) -> None:
    text = markdown(outcomes, "on a machine")
    assert "| first token, p50, ms | 100 (90.0 to 110) | 40.0 (30.0 to 50.0) | 2.75 times |" in text
    assert "| peak memory, MiB | 1,234 | 512 | 2.41 times |" in text
    assert "| inputs embedded, /s | 100 | 200 (150 to 250) | 2.00 times |" in text
    assert "| cosine, minimum | 0.999991 |" in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert columns == {5, 3}


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.96, "100.0"), (12.34, "12.3"), (0.456, "0.46")]
)
def test_short_formats_of_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_the_files(tmp_path: Path, outcomes: list[ModelComparison]) -> None:
    written = write_tables(tmp_path / "new", outcomes, machine())
    assert [path.name for path in written] == ["compare.md", "compare.json"]
    found = json.loads(written[1].read_text())
    assert found["machine"]["cores"] >= 1
    chat = found["comparisons"][0]
    assert chat["figures"][0]["b"] == {
        "median": 66, "least": 60, "most": 80, "rounds": [60, 80, 66],
    }  # fmt: skip
    assert chat["figures"][0]["ratio"] == 3
    assert chat["agreement"][0] == {"name": "equal outputs", "value": 0.875, "text": "7 of 8"}


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the extra plots is not installed"
)
def test_the_pictures(tmp_path: Path, outcomes: list[ModelComparison]) -> None:
    png, svg = write_pictures(tmp_path, outcomes)
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    root = ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 50
