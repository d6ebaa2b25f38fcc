"""The chart's schema has the names of all settings."""

from __future__ import annotations

import json

from support.chart_schema import SCHEMA, fresh, names


def test_the_schema_is_fresh() -> None:
    assert SCHEMA.read_text() == fresh(SCHEMA.read_text()), "run `make chart`"


def test_names_are_those_of_the_program() -> None:
    assert {"WORKERS", "LOG_LEVEL"} <= set(names("operator"))
    assert not {"HOLD_SECONDS", "MODELS"} & set(names("operator"))
    assert {"HOLD_SECONDS", "WATCH_NAMESPACES"} <= set(names("router"))


def test_names_that_exist_no_more_are_removed() -> None:
    old = json.loads(SCHEMA.read_text())
    old["$defs"]["operatorSetting"]["enum"].append("GONE")
    assert fresh(json.dumps(old)) == fresh(SCHEMA.read_text())
