"""Options over the environment over `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_local.errors import StartError
from fleet_local.settings import UpSettings, with_dotenv


def test_defaults() -> None:
    settings = UpSettings.read({})
    assert (settings.host, settings.port, settings.device) == ("127.0.0.1", 8000, "auto")
    assert (settings.models, settings.files) == ((), ())
    assert settings.download
    assert (settings.threads, settings.drain_timeout) == (None, None)
    assert settings.log_format == "json"


def test_the_environment_is_read() -> None:
    settings = UpSettings.read(
        {
            "HOST": "0.0.0.0", "PORT": "9000", "MODELS": " a, b ,", "MODEL_DEVICE": "cuda:1",
            "AUTO_DOWNLOAD_MODELS": "0", "MODELFLEET_THREADS": "3", "DRAIN_TIMEOUT": "1.5",
            "LOG_FORMAT": "text", "ALLOW_UNAUTHENTICATED": "1",
        }
    )  # fmt: skip
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)
    assert settings.models == ("a", "b")
    assert settings.device == "cuda:1"
    assert not settings.download
    assert (settings.threads, settings.drain_timeout) == (3, 1.5)
    assert settings.log_format == "text"


def test_options_override_the_environment() -> None:
    environ = {"HOST": "0.0.0.0", "PORT": "9000", "MODELS": "a", "MODEL_DEVICE": "cuda"}
    settings = UpSettings.read(environ, host="::1", port=81, models="b,c", device="cpu")
    assert (settings.host, settings.port, settings.models) == ("::1", 81, ("b", "c"))
    assert settings.device == "cpu"


def test_an_address_of_the_network_needs_keys_or_the_switch() -> None:
    with pytest.raises(StartError, match="ALLOW_UNAUTHENTICATED=1"):
        UpSettings.read({}, host="0.0.0.0")
    assert UpSettings.read({"HOST": "0.0.0.0", "KEYS_FILE": "keys.yaml"}).has_keys
    assert not UpSettings.read({"HOST": "::", "ALLOW_UNAUTHENTICATED": "yes"}).has_keys


def test_a_file_is_served_instead_of_models_of_the_environment() -> None:
    files = [Path("fleet.yaml")]
    assert UpSettings.read({"MODELS": "a"}, files=files).models == ()
    assert UpSettings.read({"MODELS": "a"}, files=files, models="b").models == ("b",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "many"), ("PORT", "0"), ("PORT", "65536"), ("AUTO_DOWNLOAD_MODELS", "perhaps"),
        ("MODELFLEET_THREADS", "0"), ("MODELFLEET_THREADS", "x"), ("DRAIN_TIMEOUT", "-1"),
        ("DRAIN_TIMEOUT", "nan"), ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(StartError, match=name):
        UpSettings.read({name: text})


@pytest.mark.parametrize("device", ["tpu", "gpu:", "cuda:", "cuda:x", "CPU"])
def test_a_bad_device_is_refused(device: str) -> None:
    with pytest.raises(StartError, match="must be auto, cpu, mps, cuda, cuda:N"):
        UpSettings.read({}, device=device)


def test_dotenv_adds_but_never_overrides(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# mine\nPORT=9100\nMODELS='a,b'\nexport HF_TOKEN=secret\nEMPTY\n")
    assert with_dotenv({"PORT": "9000"}, file) == {
        "PORT": "9000", "MODELS": "a,b", "HF_TOKEN": "secret",
    }  # fmt: skip
    assert with_dotenv({"PORT": ""}, file)["PORT"] == ""


def test_a_missing_dotenv_is_ignored(tmp_path: Path) -> None:
    assert with_dotenv({"A": "b"}, tmp_path / ".env") == {"A": "b"}
