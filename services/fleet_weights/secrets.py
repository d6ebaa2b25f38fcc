"""The secrets that only downloads of weights may use."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_contract.names import FETCH_SECRETS


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for code that downloads no weights."""
    return {name: value for name, value in environ.items() if name not in FETCH_SECRETS}
