"""Deletion of the least recently used weights from a bounded folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet_contract.settings import parse_size
from fleet_contract.spec import ModelSpec
from fleet_weights import eviction
from fleet_weights.errors import NoRoom
from fleet_weights.eviction import USE, hold, make_room, release
from fleet_weights.store import STAGING, Store, folder_name

KILOBYTE = 1000
NOW = time.time()


def spec(name: str) -> ModelSpec:
    return ModelSpec(model=f"org/{name}", source=f"hf://org/{name}@main")


def stored(store: Store, name: str, size: int, used: float, suffix: str = "") -> Path:
    """A folder of `size` bytes, last used `used` seconds ago."""
    folder = store.folder(spec(name), suffix)
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(b"x" * size)
    mark = store.root / USE / folder_name(spec(name))
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    os.utime(mark, (NOW - used, NOW - used))
    return folder


def test_the_least_recently_used_are_deleted_until_the_new_ones_fit(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=10 * KILOBYTE)
    old = stored(store, "old", 3 * KILOBYTE, 300)
    converted = stored(store, "old", 2 * KILOBYTE, 300, ".openvino-int8-v1")
    foreign = stored(store, "old", 1 * KILOBYTE, 300, "-0a1b2c.openvino-int8-v1")
    middle = stored(store, "middle", 3 * KILOBYTE, 200)
    recent = stored(store, "recent", 1 * KILOBYTE, 100)
    make_room(store, 5 * KILOBYTE, spec("new"))
    assert not any(path.exists() for path in (old, converted, foreign))
    assert middle.exists()
    assert recent.exists()
    make_room(store, 9 * KILOBYTE, spec("new"))
    assert not middle.exists()
    assert recent.exists()
    assert [path.name for path in (tmp_path / STAGING).iterdir()] == []


def test_nothing_is_deleted_while_there_is_room_or_without_a_limit(tmp_path: Path) -> None:
    folder = stored(Store(tmp_path), "m", KILOBYTE, 300)
    make_room(Store(tmp_path, limit=3 * KILOBYTE), 2 * KILOBYTE, spec("new"))
    make_room(Store(tmp_path), 1 << 60, spec("new"))
    assert folder.exists()


def test_a_share_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = type(eviction.shutil.disk_usage(tmp_path))(100 * KILOBYTE, 79 * KILOBYTE, 0)
    monkeypatch.setattr(eviction.shutil, "disk_usage", lambda _: disk)
    store = Store(tmp_path, limit=parse_size("80%"))
    folder = stored(store, "m", 5 * KILOBYTE, 300)
    make_room(store, KILOBYTE, spec("new"))
    assert folder.exists()
    make_room(store, 2 * KILOBYTE, spec("new"))
    assert not folder.exists()


def test_its_own_weights_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path, limit=KILOBYTE)
    folder = stored(store, "m", KILOBYTE, 300)
    make_room(store, KILOBYTE, spec("m"))
    assert folder.exists()
    assert "exceeds its limit" in caplog.text


HOLDER = """
import sys
from pathlib import Path
from fleet_contract.spec import ModelSpec
from fleet_weights.eviction import hold
from fleet_weights.store import Store
hold(ModelSpec.model_validate_json(sys.argv[2]), Store(Path(sys.argv[1]), limit=1))
print("held", flush=True)
sys.stdin.read()
"""


def test_weights_that_another_process_uses_are_kept(tmp_path: Path) -> None:
    """Until it ends, however it ends."""
    store = Store(tmp_path, limit=KILOBYTE)
    folder = stored(store, "m", KILOBYTE, 300)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), spec("m").model_dump_json()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "services"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        make_room(store, KILOBYTE, spec("new"))
        assert folder.exists()
        process.kill()
        process.wait()
        make_room(store, KILOBYTE, spec("new"))
        assert not folder.exists()


def test_use_is_recorded_only_in_a_bounded_folder(tmp_path: Path) -> None:
    hold(spec("m"), Store(tmp_path))
    assert not (tmp_path / USE).exists()
    store = Store(tmp_path, limit=KILOBYTE)
    stored(store, "m", KILOBYTE, 300)
    hold(spec("m"), store)
    assert (tmp_path / USE / folder_name(spec("m"))).stat().st_mtime > NOW - 200


def test_what_a_failed_download_left_is_deleted_too(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=KILOBYTE)
    staged = store.staging(spec("m"))
    staged.mkdir(parents=True)
    (staged / "part").write_bytes(b"x" * KILOBYTE)
    make_room(store, KILOBYTE, spec("new"))
    assert not staged.exists()


@pytest.mark.parametrize("text", ["0", "-1", "100%", "0%", "many", "1.5", "80 %x"])
def test_limits_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number of bytes nor a share"):
        parse_size(text)


def test_the_limit_is_read_from_the_environment(tmp_path: Path) -> None:
    environ = {"MODELS_DIR": str(tmp_path)}
    assert Store.of(environ).limit is None
    assert Store.of({**environ, "MODELS_DIR_LIMIT": "500"}).limit == 500


def test_a_store_that_evicts_nothing_refuses_what_does_not_fit(tmp_path: Path) -> None:
    stored(Store(tmp_path, limit=KILOBYTE), "idle", KILOBYTE, 300)
    store = Store(tmp_path, limit=2 * KILOBYTE, evicts=False)
    make_room(store, KILOBYTE, spec("new"))
    with pytest.raises(NoRoom, match="exceed its limit"):
        make_room(store, KILOBYTE + 1, spec("new"))
    assert store.folder(spec("idle")).exists()


def test_its_weights_are_deleted_before_any_that_were_used(tmp_path: Path) -> None:
    used = stored(Store(tmp_path), "used", KILOBYTE, 3600)
    spare = Store(tmp_path, limit=2 * KILOBYTE, evicts=False)
    hold(spec("new"), spare)
    new = spare.folder(spec("new"))
    new.mkdir()
    (new / "model.gguf").write_bytes(b"x" * KILOBYTE)
    store = Store(tmp_path, limit=2 * KILOBYTE)
    release(spec("new"), spare)
    make_room(store, KILOBYTE, spec("third"))
    assert not new.exists()
    assert used.exists()


def test_its_hold_is_no_use_of_weights(tmp_path: Path) -> None:
    stored(Store(tmp_path), "used", KILOBYTE, 3600)
    spare = Store(tmp_path, limit=KILOBYTE, evicts=False)
    hold(spec("used"), spare)
    release(spec("used"), spare)
    assert (tmp_path / USE / folder_name(spec("used"))).stat().st_mtime < NOW - 3000
