"""Every error carries its status, type and code."""

from __future__ import annotations

import inspect

import pytest

from fleet_contract import errors
from fleet_contract.errors import BadRequest, FleetError, QueueFull

CLASSES = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FleetError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_body_has_openais_shape(kind: type[FleetError]) -> None:
    error = kind("What went wrong.", param="field", retry_after=2)
    assert error.body() == {
        "error": {
            "message": "What went wrong.",
            "type": kind.type,
            "param": "field",
            "code": kind.default_code,
        }
    }
    assert str(error) == "What went wrong."
    assert 400 <= kind.status < 600
    assert error.retry_after == 2


def test_the_table_in_the_docstring_matches_the_classes() -> None:
    doc = errors.__doc__ or ""
    for kind in CLASSES:
        if kind is FleetError:
            continue
        (line,) = [line for line in doc.splitlines() if line.split()[:1] == [kind.__name__]]
        assert str(kind.status) in line
        assert len(line.split()) == 2 or {kind.default_code, kind.type} & set(line.split())


def test_an_explicit_code_overrides_the_default() -> None:
    assert BadRequest("x", code="invalid_json").code == "invalid_json"
    assert QueueFull("x").code == "queue_full"
