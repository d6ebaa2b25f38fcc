from __future__ import annotations

from typing import Any

import pytest

from fleet_server.engines.guided.json_pointer import resolve

ROOT = {"$defs": {"a/b": {"type": "string"}, "~": 1}, "list": [1]}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#", ROOT), ("#/$defs/a~1b", {"type": "string"}), ("#/$defs/~0", 1),
        ("#/$defs/c", None), ("#/list/0", None), ("#/$defs/~0/x", None),
        ("other#/$defs/~0", None), ("$defs/~0", None), ("", None),
    ],
)  # fmt: skip
def test_references(reference: str, found: Any) -> None:
    assert resolve(reference, ROOT) == found
