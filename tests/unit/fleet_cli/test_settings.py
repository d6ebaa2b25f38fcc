"""The table of settings and the pages generated from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fleet_cli import settings_page
from fleet_contract import catalog
from fleet_contract.settings import RETIRED, SETTINGS, override
from fleet_contract.spec import ModelSpec, Task
from fleet_local import selection
from fleet_local.settings import UpSettings, with_dotenv
from fleet_router.settings import RouterSettings
from fleet_server.settings import ServerSettings
from fleet_server.startup.weights import download_allowed
from fleet_weights.transfer.retry_policy import RETRY_POLICY
from fleet_weights.transfer.web_client import WebClient

ROOT = Path(__file__).parents[3]
BUILT_IN = catalog.load()

OF_THE_SEED = [
    "MODELS", "MODEL_DEVICE", "AUTO_DOWNLOAD_MODELS", "MAX_NEW_TOKENS", "ENABLE_CHAT_BATCHING",
    "CHAT_BATCH_WINDOW_MS", "CHAT_BATCH_MAX_SIZE", "CHAT_MAX_PROMPT_TOKENS",
    "CHAT_MAX_NEW_TOKENS", "CHAT_BATCH_ALLOW_VISION", "ALLOW_REMOTE_IMAGES",
    "REMOTE_IMAGE_TIMEOUT", "MAX_REMOTE_IMAGE_BYTES", "HF_HOME", "HF_TOKEN", "ENABLE_METRICS",
    "ENABLE_WARMUP", "WARMUP_BATCH_SIZE", "WARMUP_STEPS", "ENABLE_BATCHING", "BATCH_WINDOW_MS",
    "BATCH_WINDOW_MAX_SIZE", "EMBEDDING_CACHE_SIZE", "MAX_CONCURRENT", "MAX_QUEUE_SIZE",
    "MAX_BATCH_SIZE", "MAX_TEXT_CHARS", "MAX_AUDIO_BYTES", "CUDA_VISIBLE_DEVICES", "BASE_URL",
    "MODEL_NAME", "PROMPT", "N_REQUESTS", "CONCURRENCY",
]  # fmt: skip


OWN_DEFAULT = {"MAX_NEW_TOKENS", "PASS_SIZE", "DRAIN_TIMEOUT"}
"""Settings with a default for each reader, or whose field is None until it is set."""


def test_every_variable_of_the_seed_is_there() -> None:
    names = [setting.name for setting in SETTINGS]
    assert set(OF_THE_SEED) <= set(names) | set(RETIRED)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "setting", [one for one in SETTINGS if one.field is not None], ids=lambda one: one.name
)
def test_every_field_can_be_set_and_has_its_documented_default(setting: Any) -> None:
    """Where the default is words, the field's own default is None or chosen by the engine."""
    task = next(iter(sorted(setting.tasks)), Task.CHAT)
    spec = ModelSpec(model="a/b", task=task)
    if re.fullmatch(r"[\d.]+|auto", setting.default) and setting.name not in OWN_DEFAULT:
        assert read(spec, setting.field) == setting.parse(setting.default), "default"
    samples = {
        "device": "cuda:1", "batching.window_ms": "7.5", "images.allowed_hosts": "a.example",
        "quantization": "int4",
    }  # fmt: skip
    other = samples.get(setting.field, "1")
    changed = override(spec, {setting.name: other})
    assert read(changed, setting.field) == setting.parse(other)
    foreign = next((one for one in Task if setting.tasks and one not in setting.tasks), None)
    if foreign is not None:
        alone = ModelSpec(model="a/b", task=foreign)
        assert override(alone, {setting.name: other}) == alone


def read(spec: ModelSpec, path: str) -> Any:
    value: Any = spec
    for part in path.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("page", "path", "option"),
    [
        (settings_page.markdown, "docs/settings.md", "--markdown"),
        (settings_page.env_example, ".env.example", "--env"),
    ],
)
def test_the_committed_pages_are_fresh(page: Any, path: str, option: str) -> None:
    committed = (ROOT / path).read_text(encoding="utf-8")
    assert committed == page(), f"run `modelfleet settings {option} > {path}`"


def uncommented() -> list[str]:
    """The assignments of .env.example."""
    lines = settings_page.env_example().splitlines()
    return [line[2:] for line in lines if re.match(r"# [A-Z_]+=", line)]


def environs() -> list[Any]:
    lines = uncommented()
    return [
        pytest.param(lines, id="all"),
        *(pytest.param([line], id=line.partition("=")[0]) for line in lines),
    ]


@pytest.fixture
def parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in catalog is parsed once for all lines."""
    load = catalog.load
    monkeypatch.setattr(catalog, "load", lambda path=None: load(path) if path else dict(BUILT_IN))


@pytest.mark.usefixtures("parsed_once")
@pytest.mark.parametrize("lines", environs())
def test_lines_of_the_example_work_uncommented(lines: list[str], tmp_path: Path) -> None:
    """One by one and all at once; what is there at its default, or empty, changes nothing."""
    (tmp_path / ".env").write_text("\n".join(lines) + "\n")
    environ = with_dotenv({}, tmp_path / ".env")
    assert list(environ) == [line.partition("=")[0] for line in lines]
    up = UpSettings.read(environ)
    assert selection.select(up)
    read = [up, RouterSettings.read(environ), ServerSettings.read(environ)]
    assert download_allowed(environ)
    assert RouterSettings.read(environ).keys_file is None
    assert WebClient(environ, RETRY_POLICY).endpoint == WebClient({}, RETRY_POLICY).endpoint
    read += [override(ModelSpec(model="a/b", task=task), environ) for task in Task]
    if set(environ) & (set(settings_page.EXAMPLES) | OWN_DEFAULT):
        return
    default = [UpSettings.read({}), RouterSettings.read({}), ServerSettings.read({})]
    assert read == [*default, *(ModelSpec(model="a/b", task=task) for task in Task)]


def test_the_example_sets_nothing_and_repeats_no_secret() -> None:
    for line in settings_page.env_example().splitlines():
        assert not line or line.startswith("#")
    assert "# HF_TOKEN=\n" in settings_page.env_example()
