"""The settings of `modelfleet up`: options, then environment variables, then a `.env` file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from fleet_contract.settings import BY_NAME
from fleet_contract.spec import DEVICE_PATTERN, DEVICES
from fleet_local.errors import StartError
from fleet_web import exposure


@dataclass(frozen=True, slots=True)
class UpSettings:
    """`models` are ids or aliases (empty for the demo), `catalog` is a file of more entries,
    `threads` are those of one engine (None: all CPUs)."""

    host: str
    port: int
    models: tuple[str, ...]
    files: tuple[Path, ...]
    catalog: Path | None
    device: str
    download: bool
    threads: int | None
    drain_timeout: float | None
    log_level: str
    log_format: str
    run_root: Path
    has_keys: bool = False
    """Whether the router requires API keys."""
    on_demand: bool = False
    """Whether models start at their first request, even if they fit into the budget."""

    @property
    def folder(self) -> Path:
        """The folder of the routes file and the logs."""
        return self.run_root / str(self.port)

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        host: str | None = None,
        port: int | None = None,
        models: str | None = None,
        files: Sequence[Path] = (),
        device: str | None = None,
        on_demand: bool = False,
    ) -> UpSettings:
        """Options take precedence over `environ`. Raises StartError that names the setting."""
        host = host or value("HOST", environ)
        has_keys = bool(environ.get("KEYS_FILE", "").strip())
        allowed = value("ALLOW_UNAUTHENTICATED", environ)
        try:
            exposure.require_keys(host, has_keys=has_keys, allowed=allowed)
        except ValueError as error:
            raise StartError(f"{error}.") from error
        return cls(
            host=host,
            port=_in_range("PORT", value("PORT", environ) if port is None else port, 1, 65535),
            models=_names(_models(environ, models, files)),
            files=tuple(files),
            catalog=Path(named) if (named := environ.get("CATALOG", "").strip()) else None,
            device=_device(device or environ.get("MODEL_DEVICE", "").strip() or "auto"),
            download=value("AUTO_DOWNLOAD_MODELS", environ),
            threads=_optional("MODELFLEET_THREADS", environ, 1, 4096),
            drain_timeout=_optional("DRAIN_TIMEOUT", environ, 0, 3600),
            log_level=_one_of("LOG_LEVEL", environ, ("debug", "info", "warning", "error")),
            log_format=_one_of("LOG_FORMAT", environ, ("json", "text")),
            run_root=Path("run"),
            has_keys=has_keys,
            on_demand=on_demand or value("ON_DEMAND", environ),
        )


def with_dotenv(environ: Mapping[str, str], path: Path = Path(".env")) -> dict[str, str]:
    """`environ` with the variables of a `.env` file; those already set take precedence."""
    added = {name: text for name, text in dotenv_values(path).items() if text is not None}
    return {**added, **environ}


def value(name: str, environ: Mapping[str, str]) -> Any:
    """A setting of `fleet_contract.settings`, parsed, or its default. Raises StartError."""
    try:
        return BY_NAME[name].read(environ)
    except ValueError as error:
        raise StartError(f"{error}.") from error


def _optional(name: str, environ: Mapping[str, str], least: float, most: float) -> Any:
    if not environ.get(name, "").strip():
        return None
    return _in_range(name, value(name, environ), least, most)


def _in_range(name: str, number: Any, least: float, most: float) -> Any:
    if not least <= number <= most:
        raise StartError(f"{name}={number}: must be between {least} and {most}.")
    return number


def _one_of(name: str, environ: Mapping[str, str], known: tuple[str, ...]) -> str:
    given: str = value(name, environ).lower()
    if given not in known:
        raise StartError(f"{name}={given!r}: must be one of {', '.join(known)}.")
    return given


def _models(environ: Mapping[str, str], option: str | None, files: Sequence[Path]) -> str:
    if option is not None:
        return option
    return "" if files else environ.get("MODELS", "")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _device(text: str) -> str:
    if not re.match(DEVICE_PATTERN, text):
        raise StartError(f"Device {text!r}: must be {DEVICES}.")
    return text
