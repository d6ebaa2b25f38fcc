"""The command that prints settings."""

from __future__ import annotations

from typing import Any

from fleet_cli import settings_page
from fleet_contract.settings import SETTINGS


def test_the_command_prints_pages_and_a_table(modelfleet: Any) -> None:
    assert modelfleet("settings", "--markdown").stdout == settings_page.markdown()
    table = modelfleet("settings").stdout
    assert all(setting.name in table for setting in SETTINGS)
