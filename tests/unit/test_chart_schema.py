"""Compares the schema of the chart's values with the models that read them."""

from __future__ import annotations

import json

from fleet_router.callers.keys import Key, KeyLimits
from support.chart_schema import SCHEMA


def test_a_key_has_the_fields_of_the_key_file() -> None:
    keys = json.loads(SCHEMA.read_text())["properties"]["apiKeys"]["properties"]["keys"]
    fields = keys["items"]["properties"]
    assert fields.keys() == {field.alias for field in Key.model_fields.values()}
    limits = {field.alias for field in KeyLimits.model_fields.values()}
    assert fields["limits"]["properties"].keys() == limits
