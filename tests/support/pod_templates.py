"""Pod templates as the operator builds them."""

from __future__ import annotations

from typing import Any

from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources, resolve
from support.operator_objects import settings_of


def template(
    sources: Sources,
    default: Profile | None = None,
    environ: dict[str, str] | None = None,
    **spec: Any,
) -> Any:
    """The template of a spec; `default` is the profile of that name."""
    known = Sources(sources.catalog, {"default": default} if default else {}, {})
    found = resolve({"model": "org/m", **spec}, known)
    return pod_template("m", found, settings_of(**(environ or {})))
