"""Unsupported parameters: accepted with a value that has no effect (`tools: []`), else refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fleet_contract.errors import UnsupportedParameter


def refuse_unsupported(
    body: Mapping[str, Any], no_ops: Mapping[str, Sequence[Any]], supported_by: str = ""
) -> None:
    """Raises UnsupportedParameter for a field of `no_ops` whose value is not among the field's.

    Members of objects that are null, or an `effort` of `none`, have no effect and are not compared.
    `supported_by` is a sentence for the message: where the parameter is supported.
    """
    for name, values in no_ops.items():
        if name not in body:
            continue
        value = _without_null_members(body[name])
        if not any(same_json(value, each) for each in values):
            shown = " or ".join(orjson.dumps(each).decode() for each in values)
            raise UnsupportedParameter(
                f"{name!r} is not supported{supported_by}; accepted values: {shown}.", param=name
            )


def same_json(first: Any, second: Any) -> bool:
    """Whether two JSON values are equal. 0 is not false and 1 is not true, as they are in Python;
    1 equals 1.0."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            same_json(value, second[key]) for key, value in first.items()
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same_json, first, second))
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


def _without_null_members(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {key: _without_null_members(each) for key, each in value.items() if each is not None}
    return {key: each for key, each in kept.items() if (key, each) != ("effort", "none")}
