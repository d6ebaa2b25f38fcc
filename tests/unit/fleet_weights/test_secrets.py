"""Secrets of downloads."""

from __future__ import annotations

from fleet_weights.secrets import without_secrets


def test_all_secrets_of_downloads_are_removed() -> None:
    secrets = (
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN", "DOCKER_AUTH_CONFIG",
    )  # fmt: skip
    assert without_secrets({"PATH": "/bin", **dict.fromkeys(secrets, "x")}) == {"PATH": "/bin"}
