"""Reads back what the operator wrote into a status; what another version wrote may not be legible.

Then it is forgotten rather than in the way: a status must never keep its model from being served.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from fleet_contract.spec_base import SpecPart

Part = TypeVar("Part", bound=SpecPart)


def remembered(kind: type[Part], raw: Any) -> Part | None:
    """The part of a status as an object; None where there is none, or none to be understood."""
    if not isinstance(raw, dict):
        return None
    known = {field.alias for field in kind.model_fields.values()}
    try:
        return kind.model_validate({name: raw[name] for name in raw if name in known})
    except ValidationError:
        return None
