"""The environment of each process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleet_contract import launch
from fleet_contract.names import ENV_CONTROL
from fleet_contract.spec import ModelSpec
from fleet_local import environment
from fleet_local.settings import UpSettings

Settings = Callable[..., UpSettings]
Spec = Callable[..., ModelSpec]


def of_server(spec: ModelSpec, settings: UpSettings, environ: dict[str, str]) -> dict[str, str]:
    return environment.of_server(spec, settings, environ, Path("models"))


def test_tokens_are_not_passed_on(settings: Settings, spec: Spec) -> None:
    environ = {"HF_TOKEN": "secret", "HUGGING_FACE_HUB_TOKEN": "secret", "PATH": "/bin"}
    for made in (
        of_server(spec(), settings(), environ),
        environment.of_router(settings(), environ, "control"),
    ):
        assert "secret" not in made.values()
        assert made["PATH"] == "/bin"


def test_only_the_router_gets_the_secret_of_its_report(settings: Settings, spec: Spec) -> None:
    made = environment.of_router(settings(), {ENV_CONTROL: "of another fleet"}, "mine")
    assert made[ENV_CONTROL] == "mine"
    assert ENV_CONTROL not in of_server(spec(), settings(), made)


def test_the_spec_of_a_server_can_be_decoded(settings: Settings, spec: Spec) -> None:
    given = spec(aliases=["chat"], defaults={"maxTokens": 7})
    assert launch.decode(of_server(given, settings(), {})) == given


def test_a_server_downloads_nothing_and_finds_the_weights(settings: Settings, spec: Spec) -> None:
    made = of_server(spec(), settings(), {"AUTO_DOWNLOAD_MODELS": "1", "MODELS_DIR": "elsewhere"})
    assert made["AUTO_DOWNLOAD_MODELS"] == "0"
    assert Path(made["MODELS_DIR"]) == Path("models").resolve()
    assert made["HF_HUB_OFFLINE"] == "1"


def test_the_device_option_overrides_the_environment(settings: Settings, spec: Spec) -> None:
    environ = {"MODEL_DEVICE": "cuda"}
    assert of_server(spec(), settings(device="cpu"), environ)["MODEL_DEVICE"] == "cpu"
    assert "MODEL_DEVICE" not in of_server(spec(), settings(device="auto"), environ)


def test_the_spec_overrides_options_and_environment(settings: Settings, spec: Spec) -> None:
    given = spec(env={"MODELFLEET_THREADS": "1", "MODEL_DEVICE": "mps"})
    made = of_server(given, settings(device="cpu"), {"MODELFLEET_THREADS": "8"})
    assert (made["MODELFLEET_THREADS"], made["MODEL_DEVICE"]) == ("1", "mps")


def test_the_default_drain_time_of_a_fleet_is_seconds(settings: Settings) -> None:
    assert float(environment.of_router(settings(), {}, "")["DRAIN_TIMEOUT"]) < 10
    assert environment.of_router(settings(drain_timeout=60), {}, "")["DRAIN_TIMEOUT"] == "60"
