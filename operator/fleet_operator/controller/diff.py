"""Whether a child must be applied again, because it was edited or fields were dropped.

Server-side apply of an equal object changes nothing but costs a request; with this comparison a
settled fleet causes no writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_operator.names import ANNOTATION_APPLIED
from fleet_operator.quantity import thousandths

KEYS = ("name", "mountPath", "containerPort", "port", "uid", "topologyKey", "key", "path")
"""Fields that identify the items of a list, in order of preference."""
QUANTITIES = frozenset({"requests", "limits"})


def differs(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether `found`, as the API server returned it, lacks something of `wanted`."""
    annotations = found["metadata"].get("annotations") or {}
    digest = wanted["metadata"]["annotations"][ANNOTATION_APPLIED]
    if annotations.get(ANNOTATION_APPLIED) != digest:
        return True
    return not covers(found, wanted)


def covers(found: Any, wanted: Any, key: str = "") -> bool:
    """Whether `found` contains `wanted`; defaults and fields of other managers may be added."""
    if found is None:  # the API server omits what is empty, zero or false
        return not wanted
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return False
        if key in QUANTITIES:
            return all(name in found and _same_amount(found[name], amount)
                       for name, amount in wanted.items())  # fmt: skip
        return all(covers(found.get(name), value, name) for name, value in wanted.items())
    if isinstance(wanted, list):
        return _covers_list(found, wanted)
    return bool(found == wanted)


def _covers_list(found: Any, wanted: list[Any]) -> bool:
    if not isinstance(found, list):
        return False
    if not all(isinstance(item, Mapping) for item in wanted):
        return found == wanted
    unused = [item for item in found if isinstance(item, Mapping)]
    for item in wanted:
        field = next((field for field in KEYS if field in item), None)
        place = next(
            (i for i, other in enumerate(unused)
             if (field is None or other.get(field) == item[field]) and covers(other, item)),
            None,
        )  # fmt: skip
        if place is None:
            return False
        del unused[place]
    return True


def _same_amount(found: Any, wanted: Any) -> bool:
    try:
        return thousandths(found) == thousandths(wanted)
    except ValueError:
        return bool(found == wanted)
