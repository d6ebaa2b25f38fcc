"""Passes the spec a model server serves through an environment variable.

Other variables (see `settings`) override single fields of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from fleet_contract.names import ENV_SPEC
from fleet_contract.settings import override
from fleet_contract.spec import ModelSpec


def encode(spec: ModelSpec) -> dict[str, str]:
    """Environment variables of a server for `spec`, with the plain values of its `env`."""
    return {**spec.plain_env, ENV_SPEC: json.dumps(spec.to_wire(), separators=(",", ":"))}


def decode(environ: Mapping[str, str]) -> ModelSpec:
    """The spec to serve. Raises ValueError that names the variable at fault."""
    raw = environ.get(ENV_SPEC)
    if not raw:
        raise ValueError(f"{ENV_SPEC} is not set: it must hold the ModelSpec to serve, as JSON")
    try:
        spec = ModelSpec.model_validate_json(raw)
    except ValidationError as error:
        raise ValueError(f"{ENV_SPEC} is not a valid ModelSpec: {error}") from error
    return override(spec, environ)
