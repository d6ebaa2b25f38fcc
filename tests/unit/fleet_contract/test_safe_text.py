"""Untrusted text in logs and on terminals."""

from __future__ import annotations

import pytest

from fleet_contract.safe_text import printable, printable_lines, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/x?sig=1&b=2 failed", "https://h/x?... failed"),
        ("'HTTPS://h/x?sig=1': no", "'HTTPS://h/x?...': no"),
        ("a http://h/?q=1 b https://i/y?z=2.", "a http://h/?... b https://i/y?..."),
        ("https://user:pass@h/x", "https://...@h/x"),
        ("https://token@h/x?y=1", "https://...@h/x?..."),
        ("hf://gpt2@main", "hf://gpt2@main"),
        ("hf://org/repo@main/a?b=c", "hf://org/repo@main/a?b=c"),
        ("https://h/x what? a@b", "https://h/x what? a@b"),
        ("no address? a@b", "no address? a@b"),
    ],
)
def test_queries_and_passwords_are_removed(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢 🙂", "plain ä 漢 🙂"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31m\x9b\x7f", r"\x1b[31m\x9b\x7f"),
        ("\u202e\u2066\u2028\ud800", r"\u202e\u2066\u2028\ud800"),
    ],
)
def test_terminal_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"
