"""docs/moving.md: every command is parsed, and every variable of the seed is listed."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from fleet_cli.main import SUBCOMMANDS
from fleet_contract import catalog, settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
KEPT, CHANGED = (
    set(re.findall(r"`([A-Z][A-Z_]+)`", part))
    for part in PAGE.partition("## Variables")[2].partition("## What behaves")[0].split(
        "What changed:"
    )
)  # fmt: skip
KNOWN = {setting.name for setting in settings.SETTINGS}
RETIRED = set(getattr(settings, "RETIRED", ()))

OF_THE_SEED = {
    "MODELS", "MODEL_DEVICE", "AUTO_DOWNLOAD_MODELS", "HF_HOME", "HF_TOKEN",
    "CUDA_VISIBLE_DEVICES", "ENABLE_METRICS", "ENABLE_CHAT_BATCHING", "CHAT_BATCH_WINDOW_MS",
    "CHAT_BATCH_MAX_SIZE", "CHAT_MAX_PROMPT_TOKENS", "CHAT_MAX_NEW_TOKENS",
    "CHAT_BATCH_ALLOW_VISION", "MAX_NEW_TOKENS", "ALLOW_REMOTE_IMAGES", "REMOTE_IMAGE_TIMEOUT",
    "MAX_REMOTE_IMAGE_BYTES", "ENABLE_WARMUP", "WARMUP_BATCH_SIZE", "WARMUP_STEPS",
    "ENABLE_BATCHING", "BATCH_WINDOW_MS", "BATCH_WINDOW_MAX_SIZE", "EMBEDDING_CACHE_SIZE",
    "MAX_CONCURRENT", "MAX_QUEUE_SIZE", "MAX_BATCH_SIZE", "MAX_TEXT_CHARS", "MAX_AUDIO_BYTES",
    "BASE_URL", "MODEL_NAME", "PROMPT", "N_REQUESTS", "CONCURRENCY",
}  # fmt: skip
"""The variables its README names."""
COMMANDS = sorted(set(re.findall(r"`(modelfleet [^`]+)`", PAGE)))
TARGETS = sorted(set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)[^`]*`", PAGE)))


def test_every_variable_of_the_seed_is_on_the_page() -> None:
    assert KEPT | CHANGED >= OF_THE_SEED
    assert not KEPT & CHANGED


def test_a_variable_that_keeps_its_name_is_a_setting() -> None:
    assert KEPT <= KNOWN - RETIRED


def test_a_variable_without_effect_is_called_changed() -> None:
    assert RETIRED & OF_THE_SEED <= CHANGED


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_parsed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fleet.yaml").touch()
    monkeypatch.chdir(tmp_path)
    _, name, *arguments = shlex.split(line)
    module, _, attribute = SUBCOMMANDS[name].app.partition(":")
    command: Any = typer.main.get_command(getattr(importlib.import_module(module), attribute))
    while hasattr(command, "commands"):
        group = command.make_context(name, arguments)
        name, command, arguments = command.resolve_command(group, arguments)
        assert command is not None
    command.make_context(name, list(arguments))


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 10
    assert {line.split()[1] for line in COMMANDS} >= {"up", "pull", "bench", "catalog", "server"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_example_of_a_catalog_is_valid() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert list(catalog.parse(example, "my.yaml")) == ["acme/my-encoder"]


def test_the_models_it_names_are_in_the_catalog() -> None:
    known = catalog.load()
    named = re.findall(r"--models (\S+?)`|pull ([^`]+)`", PAGE)
    names = [name for pair in named for text in pair for name in re.split(r"[ ,]", text) if name]
    assert names
    assert catalog.resolve(names, known)


def test_a_wrong_option_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="no-such-option"):
        test_every_command_is_parsed(
            "modelfleet bench chat --no-such-option", tmp_path, monkeypatch
        )
