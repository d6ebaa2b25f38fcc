"""RFC 3339 timestamps of the Kubernetes API, to and from Unix time."""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str | None) -> float | None:
    """Unix time, or None if absent or invalid."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def render(seconds: float) -> str:
    """UTC with whole seconds, as in the Kubernetes API."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
