"""The command that prints the settings."""

from __future__ import annotations

from typing import Any

from fleet_cli import settings_page
from fleet_contract.settings import SETTINGS


def test_pages_and_table(modelfleet: Any) -> None:
    assert modelfleet("settings", "--markdown").stdout == settings_page.markdown()
    table = modelfleet("settings").stdout
    assert all(setting.name in table for setting in SETTINGS)
