"""Text on a terminal."""

from __future__ import annotations

import pytest

from fleet_web.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢 🙂", "plain ä 漢 🙂"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31m\x9b\x7f", r"\x1b[31m\x9b\x7f"),
        ("\u202e\u2066\u2028\ud800", r"\u202e\u2066\u2028\ud800"),
    ],
)
def test_what_controls_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
