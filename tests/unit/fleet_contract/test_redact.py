"""Secrets in addresses."""

from __future__ import annotations

import pytest

from fleet_contract.redact import redacted


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
