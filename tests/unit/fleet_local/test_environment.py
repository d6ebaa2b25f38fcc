"""What each process gets to see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleet_contract import launch
from fleet_contract.spec import ModelSpec
from fleet_local import environment
from fleet_local.settings import UpSettings

Settings = Callable[..., UpSettings]
Spec = Callable[..., ModelSpec]


def of_server(spec: ModelSpec, settings: UpSettings, environ: dict[str, str]) -> dict[str, str]:
    return environment.of_server(spec, settings, environ, Path("models"))


def test_tokens_stay_behind(settings: Settings, spec: Spec) -> None:
    environ = {"HF_TOKEN": "secret", "HUGGING_FACE_HUB_TOKEN": "secret", "PATH": "/bin"}
    for made in (
        of_server(spec(), settings(), environ),
        environment.of_router(settings(), environ),
    ):
        assert "secret" not in made.values()
        assert made["PATH"] == "/bin"


def test_a_server_can_decode_what_it_is_to_serve(settings: Settings, spec: Spec) -> None:
    given = spec(aliases=["chat"], defaults={"maxTokens": 7})
    assert launch.decode(of_server(given, settings(), {})) == given


def test_a_server_fetches_nothing_and_finds_the_weights(settings: Settings, spec: Spec) -> None:
    made = of_server(spec(), settings(), {"AUTO_DOWNLOAD_MODELS": "1", "MODELS_DIR": "elsewhere"})
    assert made["AUTO_DOWNLOAD_MODELS"] == "0"
    assert Path(made["MODELS_DIR"]) == Path("models").resolve()
    assert made["HF_HUB_OFFLINE"] == "1"


def test_the_device_asked_for_wins_over_the_environment(settings: Settings, spec: Spec) -> None:
    environ = {"MODEL_DEVICE": "cuda"}
    assert of_server(spec(), settings(device="cpu"), environ)["MODEL_DEVICE"] == "cpu"
    assert "MODEL_DEVICE" not in of_server(spec(), settings(device="auto"), environ)


def test_the_spec_has_the_last_word(settings: Settings, spec: Spec) -> None:
    given = spec(env={"MODELFLEET_THREADS": "1", "MODEL_DEVICE": "mps"})
    made = of_server(given, settings(device="cpu"), {"MODELFLEET_THREADS": "8"})
    assert (made["MODELFLEET_THREADS"], made["MODEL_DEVICE"]) == ("1", "mps")


def test_a_fleet_drains_for_seconds_unless_told_otherwise(settings: Settings) -> None:
    assert float(environment.of_router(settings(), {})["DRAIN_TIMEOUT"]) < 10
    assert environment.of_router(settings(drain_timeout=60), {})["DRAIN_TIMEOUT"] == "60"
