"""The inputs that both sides get."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_bench.compare.cases import PROMPTS, cases


def test_the_defaults() -> None:
    found = cases(None, None, [])
    assert (found.prompts, found.own_prompts, found.own_texts) == (PROMPTS, False, False)
    assert [recording.name for recording in found.recordings] == [
        "english.ogg", "garden.ogg", "german.ogg",
    ]  # fmt: skip


def test_files_of_lines(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("One?\n\n  \nZwei: ü?\n", encoding="utf-8")
    found = cases(tmp_path / "prompts", None, [tmp_path / "prompts"])
    assert (found.prompts, found.own_prompts) == (("One?", "Zwei: ü?"), True)
    assert found.recordings[0].name == "prompts"
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ValueError, match="not blank"):
        cases(None, tmp_path / "empty", [])
