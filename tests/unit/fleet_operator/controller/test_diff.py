"""Whether a child must be applied again."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.controller.diff import covers, differs


@pytest.mark.parametrize(
    ("found", "wanted", "covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({}, {"a": 1}, False),
        ({}, {"a": {}}, True),
        ({}, {"value": ""}, True),
        ({}, {"on": False}, True),
        ({}, {"on": True}, False),
        ({"args": ["a", "b"]}, {"args": ["a"]}, False),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "2000m"}}, True),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, True),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "3"}}, False),
        ({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]},
         {"env": [{"name": "A", "value": "1"}]}, True),
        ({"env": [{"name": "A", "value": "2"}]}, {"env": [{"name": "A", "value": "1"}]}, False),
        ({"env": []}, {"env": [{"name": "A"}]}, False),
        ({"tolerations": [{"key": "a", "operator": "Exists"}]},
         {"tolerations": [{"operator": "Exists"}]}, True),
        ({"ports": [{"containerPort": 8000, "protocol": "TCP"}]},
         {"ports": [{"containerPort": 8000}]}, True),
        ({"list": None}, {"list": ["a"]}, False),
        ({"list": "text"}, {"list": [{"name": "a"}]}, False),
        ({"map": "text"}, {"map": {"a": 1}}, False),
    ],
)  # fmt: skip
def test_covers(found: Any, wanted: Any, covered: bool) -> None:
    assert covers(found, wanted) is covered


def child(digest: str, replicas: int) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {"modelfleet.dev/applied": digest}},
        "spec": {"replicas": replicas},
    }


def test_a_dropped_field_is_noticed_by_the_digest() -> None:
    found = child("old", 1)
    assert differs(child("new", 1), found)
    assert not differs(child("old", 1), found)
    assert differs(child("old", 2), found)
    assert differs(child("old", 1), {"metadata": {}, "spec": {"replicas": 1}})
