"""Every environment variable and its effect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fleet_contract.settings import (
    BY_NAME,
    RETIRED,
    SETTINGS,
    Setting,
    override,
    parse_bool,
    parse_list,
    retired,
)
from fleet_contract.spec import ModelSpec, Task

WITH_FIELD = [setting for setting in SETTINGS if setting.field is not None]
SEED = {
    "MODELS", "MODEL_DEVICE", "AUTO_DOWNLOAD_MODELS", "MAX_NEW_TOKENS", "ENABLE_CHAT_BATCHING",
    "CHAT_BATCH_WINDOW_MS", "CHAT_BATCH_MAX_SIZE", "CHAT_MAX_PROMPT_TOKENS", "CHAT_MAX_NEW_TOKENS",
    "CHAT_BATCH_ALLOW_VISION", "ALLOW_REMOTE_IMAGES", "REMOTE_IMAGE_TIMEOUT",
    "MAX_REMOTE_IMAGE_BYTES", "HF_HOME", "HF_TOKEN", "ENABLE_WARMUP", "WARMUP_BATCH_SIZE",
    "WARMUP_STEPS", "ENABLE_BATCHING", "BATCH_WINDOW_MS", "BATCH_WINDOW_MAX_SIZE",
    "EMBEDDING_CACHE_SIZE", "MAX_CONCURRENT", "MAX_QUEUE_SIZE", "MAX_BATCH_SIZE", "MAX_TEXT_CHARS",
    "MAX_AUDIO_BYTES", "ENABLE_METRICS", "CUDA_VISIBLE_DEVICES", "BASE_URL", "MODEL_NAME", "PROMPT",
    "N_REQUESTS", "CONCURRENCY", "REMOTE_IMAGE_HOST_ALLOWLIST",
}  # fmt: skip
"""Names the project this one grew out of documents."""


def sample(setting: Setting) -> tuple[str, Any]:
    """A value that is not the default of any setting."""
    if setting.name == "MODEL_DEVICE":
        return "cuda:1", "cuda:1"
    if setting.name == "QUANTIZATION":
        return "int4", "int4"
    if setting.parse is parse_list:
        return "b.example, a.example,b.example", ["b.example", "a.example"]
    if setting.parse is parse_bool:
        spec = ModelSpec(model="m", task=min(setting.tasks or {Task.CHAT}))
        return ("0", False) if read(spec, setting) else ("yes", True)
    if setting.name in ("QUEUE_SHARE", "GPU_MEMORY"):  # between 0 and 1
        return "0.25", 0.25
    return ("7", 7) if setting.parse is int else ("7.5", 7.5)


def read(spec: ModelSpec, setting: Setting) -> Any:
    value: Any = spec
    for name in (setting.field or "").split("."):
        value = getattr(value, name)
    return value


def test_the_names_of_the_seed_are_all_there() -> None:
    names = {setting.name for setting in SETTINGS}
    assert names | set(RETIRED) >= SEED
    assert not names & set(RETIRED)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize("setting", WITH_FIELD, ids=lambda setting: setting.name)
def test_each_sets_its_field_for_its_tasks_only(setting: Setting) -> None:
    text, value = sample(setting)
    for task in Task:
        spec = ModelSpec(model="m", task=task)
        changed = override(spec, {setting.name: f" {text} "})
        if not setting.tasks or task in setting.tasks:
            assert read(changed, setting) == value != read(spec, setting)
            assert override(changed, {}) == changed
        else:
            assert changed == spec


@pytest.mark.parametrize("setting", WITH_FIELD, ids=lambda setting: setting.name)
def test_an_empty_value_changes_nothing(setting: Setting) -> None:
    spec = ModelSpec(model="m", task=min(setting.tasks or {Task.CHAT}))
    assert override(spec, {setting.name: "  "}) == spec


@pytest.mark.parametrize("setting", WITH_FIELD, ids=lambda setting: setting.name)
def test_a_bad_value_names_the_variable(setting: Setting) -> None:
    spec = ModelSpec(model="m", task=min(setting.tasks or {Task.CHAT}))
    for bad in ("many?", "-5"):
        with pytest.raises(ValueError, match=rf"^{setting.name}='{re.escape(bad)}': ."):
            override(spec, {setting.name: bad})


def test_a_models_own_default_wins_over_max_new_tokens() -> None:
    own = ModelSpec.model_validate({"model": "m", "defaults": {"maxTokens": 9}})
    assert override(own, {"MAX_NEW_TOKENS": "100"}).defaults.max_tokens == 9
    assert override(ModelSpec(model="m"), {"MAX_NEW_TOKENS": "100"}).defaults.max_tokens == 100


def test_the_seeds_guard_of_the_api_and_the_size_of_a_pass_are_two_settings() -> None:
    spec = ModelSpec(model="m", task=Task.EMBEDDING)
    changed = override(spec, {"MAX_BATCH_SIZE": "5"})
    assert (changed.limits.max_items, changed.pass_size) == (5, 32)
    assert override(spec, {"MAX_BATCH_SIZE": "5", "MAX_ITEMS": "6"}).limits.max_items == 6
    changed = override(spec, {"PASS_SIZE": "5"})
    assert (changed.limits.max_items, changed.pass_size) == (2048, 5)
    earlier = ModelSpec.model_validate({"model": "m", "limits": {"maxBatchSize": 64}})
    assert (earlier.limits.max_items, earlier.pass_size) == (2048, 64)


def test_retired_variables_are_reported_with_a_reason() -> None:
    assert retired({"CHAT_BATCH_WINDOW_MS": " ", "MAX_CONCURRENT": "1"}) == {}
    assert list(retired({"CHAT_BATCH_WINDOW_MS": "10"})) == ["CHAT_BATCH_WINDOW_MS"]
    spec = ModelSpec(model="m")
    assert override(spec, {"CHAT_BATCH_WINDOW_MS": "10"}) == spec


def test_several_at_once() -> None:
    changed = override(
        ModelSpec(model="m"), {"MAX_QUEUE_SIZE": "1", "MAX_STOP": "2", "UNRELATED": "x"}
    )
    assert (changed.limits.max_queue_size, changed.limits.max_stop) == (1, 2)


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "False", "no", "OFF"])
def test_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "2", "yep"])
def test_invalid_booleans_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        parse_bool(text)


@pytest.mark.parametrize("environ", [{}, {"PORT": ""}, {"PORT": "  "}])
def test_a_setting_that_is_not_set_reads_as_its_default(environ: dict[str, str]) -> None:
    assert BY_NAME["PORT"].read(environ) == 8000
    assert BY_NAME["PORT"].read(environ, None) is None


def test_a_setting_reads_as_its_parsed_value_or_names_its_variable() -> None:
    assert BY_NAME["PORT"].read({"PORT": " 9000 "}, 1) == 9000
    with pytest.raises(ValueError, match=r"^PORT='x': invalid literal"):
        BY_NAME["PORT"].read({"PORT": "x"}, 1)
