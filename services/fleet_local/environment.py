"""The environment variables of each process of a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fleet_contract import launch
from fleet_contract.names import ENV_CONTROL, HUB_TOKENS, REGISTRY_LOGINS
from fleet_contract.spec import ModelSpec
from fleet_local.settings import UpSettings

DRAIN_SECONDS = 4.0
"""Default drain time; shorter than a server's 30 s, so that Ctrl-C ends a fleet within seconds."""

NOT_PASSED_ON = (*HUB_TOKENS, REGISTRY_LOGINS, ENV_CONTROL, "MODEL_DEVICE")
"""Tokens and logins are only needed to fetch weights; the device is set from the options."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Weights are on disk before a server starts, so its libraries need no network."""


def of_router(settings: UpSettings, environ: Mapping[str, str], secret: str) -> dict[str, str]:
    """Environment of the router; `secret` is that of its control report."""
    return {**_common(settings, environ), ENV_CONTROL: secret}


def _common(settings: UpSettings, environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: text for name, text in environ.items() if name not in NOT_PASSED_ON}
    return {
        **kept,
        "DRAIN_TIMEOUT": str(drain_seconds(settings)),
        "LOG_LEVEL": settings.log_level,
        "LOG_FORMAT": settings.log_format,
        "PYTHONUNBUFFERED": "1",
    }


def of_server(
    spec: ModelSpec,
    settings: UpSettings,
    environ: Mapping[str, str],
    models: Path,
    share: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Environment of a server of `spec`; variables of the spec's `env` take precedence.

    `share` holds the device or the threads of this server (`replicas.shares`).
    """
    device = {} if settings.device == "auto" else {"MODEL_DEVICE": settings.device}
    return {
        **_common(settings, environ),
        **OFFLINE,
        **device,
        **(share or {}),
        "MODELS_DIR": str(models.resolve()),
        "AUTO_DOWNLOAD_MODELS": "0",
        **launch.encode(spec),
    }


def drain_seconds(settings: UpSettings) -> float:
    """Seconds that running requests get to finish when the fleet stops."""
    return DRAIN_SECONDS if settings.drain_timeout is None else settings.drain_timeout
