"""Conversion as a step of fetching: once, atomically, with progress and cancellation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare.converters import Converter
from fleet_prepare.machine import Machine
from fleet_prepare.prepare import find, prepare
from fleet_prepare.stage import PrepareStage
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.store import STAGING, Store
from support.capabilities import bound_by_file_modes
from support.hub import Hub

CPU = Machine("cpu", has_torch=False)
CUDA = Machine("cuda", has_torch=True)
Speech = Callable[..., ModelSpec]

pytestmark = pytest.mark.usefixtures("converter")


def leftovers(store: Store) -> list[Path]:
    """Folders in the staging area; lock files may remain."""
    staging = store.root / STAGING
    return [path for path in staging.iterdir() if path.is_dir()] if staging.is_dir() else []


def test_conversions_are_reused(tmp_path: Path, speech: Speech) -> None:
    store, spec = Store(tmp_path / "models"), speech()
    seen: list[tuple[PrepareStage, int, int | None]] = []
    assert find(spec, store, CPU) is None
    first = prepare(spec, store, CPU, lambda *event: seen.append(event))
    assert first.folder.parent == store.root
    assert first.folder.name.startswith(f"{store.folder(spec).name}-")
    assert first.folder.name.endswith(".ctranslate2-int8-v3")
    assert (first.folder / "model.bin").read_bytes() == b"WEIGHTS " * 1000
    assert (first.choice.engine, first.choice.device) == (Engine.CTRANSLATE2, "cpu")
    assert "converted to ctranslate2 int8" in first.choice.reason
    assert seen[0] == (PrepareStage.CONVERTING, 0, None)
    assert seen[-1] == (PrepareStage.CONVERTING, 8000, 8000)
    assert prepare(spec, store, CPU) == first
    assert find(spec, store, CPU) == first
    assert len((tmp_path / "source" / "runs").read_text().split()) == 1
    record = json.loads((first.folder / ".modelfleet.json").read_text())
    assert (record["converter"], record["quantization"]) == ("test_converter", "int8")


def test_a_damaged_conversion_is_repeated(tmp_path: Path, speech: Speech) -> None:
    store, spec = Store(tmp_path / "models"), speech()
    first = prepare(spec, store, CPU)
    (first.folder / "model.bin").write_bytes(b"WEIGHTS")
    assert find(spec, store, CPU) is None
    assert prepare(spec, store, CPU) == first
    assert (first.folder / "model.bin").read_bytes() == b"WEIGHTS " * 1000
    assert len((tmp_path / "source" / "runs").read_text().split()) == 2


def test_the_source_is_not_changed(tmp_path: Path, speech: Speech) -> None:
    spec = speech()
    folder = tmp_path / "source"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    prepare(spec, Store(tmp_path / "models"), CPU)
    (folder / "runs").unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_each_format_has_its_own_folder(tmp_path: Path, speech: Speech) -> None:
    store = Store(tmp_path / "models")
    names = {
        prepare(spec, store, machine).folder.name.rpartition(".")[2]
        for spec, machine in [
            (speech(), CPU), (speech(), CUDA), (speech(dtype="float32"), CPU),
            (speech(dtype="bfloat16"), CUDA),
        ]
    }  # fmt: skip
    formats = ("int8", "float16", "float32", "float16")
    assert names == {f"ctranslate2-{name}-v3" for name in formats}


def test_a_changed_file_of_the_source_is_converted_again(tmp_path: Path, speech: Speech) -> None:
    store, spec = Store(tmp_path / "models"), speech()
    first = prepare(spec, store, CPU)
    (tmp_path / "source" / "model.safetensors").write_bytes(b"other")
    second = prepare(spec, store, CPU)
    assert second.folder != first.folder
    assert (second.folder / "model.bin").read_bytes() == b"OTHER"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("refuse", "lacks the tensor"),
        ("full", "The disk is full"),
        ("crash", "a library's last words"),
        ("memory", "acme/voice was killed, probably because memory ran out"),
    ],
)
def test_failed_conversions_leave_no_files(
    tmp_path: Path, speech: Speech, how: str, words: str
) -> None:
    store = Store(tmp_path / "models")
    with pytest.raises(WeightsError, match=words):
        prepare(speech(how), store, CPU)
    assert leftovers(store) == []
    assert list(store.root.glob("acme--voice*")) == []
    assert prepare(speech(), store, CPU).folder.is_dir()


def test_cancellation_leaves_no_files(tmp_path: Path, speech: Speech) -> None:
    store, stop, converting = Store(tmp_path / "models"), threading.Event(), threading.Event()

    def report(stage: PrepareStage, done: int, total: int | None) -> None:
        if done:
            converting.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(prepare, speech("hang"), store, CPU, report, stop=stop)
        assert converting.wait(180)
        pid = int((tmp_path / "source" / "runs").read_text())
        assert psutil.pid_exists(pid)
        stop.set()
        with pytest.raises(Stopped):
            running.result(180)
    assert not psutil.pid_exists(pid)
    assert leftovers(store) == []


KILLED = """
import sys
from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_prepare import converters
from fleet_prepare.machine import Machine
from fleet_prepare.prepare import prepare
from fleet_weights.store import Store
from pathlib import Path

converters.CONVERTERS = (converters.Converter(Task.SPEECH, Engine.CTRANSLATE2, "test_converter",
                         "ctranslate2", converters.speech_quantization),)
prepare(ModelSpec.model_validate_json(sys.argv[1]), Store(Path(sys.argv[2])),
        Machine("cpu", has_torch=False), lambda stage, done, total: print(done, flush=True))
"""


def test_a_killed_process_ends_its_conversion(tmp_path: Path, speech: Speech) -> None:
    store, spec = Store(tmp_path / "models"), speech("hang")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, spec.model_dump_json(), str(store.root)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        while process.stdout.readline().strip() != "4000":
            assert process.poll() is None
        child = psutil.Process(int((tmp_path / "source" / "runs").read_text()))
        process.kill()
    psutil.wait_procs([child], timeout=180)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert list(store.root.glob("acme--voice*")) == []
    # Leftovers of the killed process in the staging area do no harm.
    assert leftovers(store) != []
    prepared = prepare(speech(), store, CPU)
    assert (prepared.folder / "model.bin").read_bytes() == b"WEIGHTS " * 1000
    assert len(leftovers(store)) <= 1


def test_concurrent_conversions_share_the_work(tmp_path: Path, speech: Speech) -> None:
    store, spec = Store(tmp_path / "models"), speech()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: prepare(spec, store, CPU), range(2)))
    assert found[0] == found[1]
    assert len((tmp_path / "source" / "runs").read_text().split()) == 1


@pytest.mark.parametrize(("dtype", "size"), [("F32", 4), ("BF16", 2), ("F8_E4M3", 1)])
def test_too_little_space_fails_before_the_conversion(
    tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch, dtype: str, size: int
) -> None:
    """A billion weights need the same space in int8, whatever their stored format."""
    spec, path = speech(), tmp_path / "source" / "model.safetensors"
    weight = {"dtype": dtype, "shape": [1000, 10**6], "data_offsets": [0, size * 10**9]}
    header = json.dumps({"w": weight}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + size * 10**9)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"takes about 1\.2 GB .* 0\.0 GB are free"):
        prepare(spec, Store(tmp_path / "models"), CPU)
    assert not (tmp_path / "source" / "runs").exists()


def test_a_folder_that_is_not_writable(tmp_path: Path, speech: Speech) -> None:
    root = tmp_path / "models"
    root.mkdir(mode=0o555)
    spec = speech()
    with bound_by_file_modes(), pytest.raises(WeightsError, match="cannot be written to"):
        prepare(spec, Store(root), CPU)


def test_a_read_only_file_system(
    tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    spec = speech()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WeightsError, match=r"Read-only file system.*while converting") as caught:
        prepare(spec, Store(tmp_path / "models"), CPU)
    assert "modelfleet pull" in caught.value.hint


def repository(hub: Hub, folder: Path) -> ModelSpec:
    (folder / "pytorch_model.bin").write_bytes(b"\x80pickle")
    hub.repositories["acme/voice"] = folder
    return ModelSpec.model_validate(
        {"model": "acme/voice", "task": "speech", "source": "hf://acme/voice"}
    )


def test_a_repository_is_fetched_and_converted(
    tmp_path: Path, hub: Hub, source: Callable[..., Path], converter: Converter
) -> None:
    store, spec = Store(tmp_path / "models"), repository(hub, source())
    environ = {**os.environ, "HF_ENDPOINT": hub.url}
    stages: list[PrepareStage] = []
    prepared = prepare(
        spec, store, CPU, lambda stage, done, total: stages.append(stage), environ=environ
    )
    assert prepared.folder == store.folder(spec, ".ctranslate2-int8-v3")
    assert list(dict.fromkeys(stages)) == [PrepareStage.FETCHING, PrepareStage.CONVERTING]
    assert "pytorch_model.bin" not in hub.fetched("acme/voice")


def test_converted_weights_need_no_source(
    tmp_path: Path, hub: Hub, source: Callable[..., Path]
) -> None:
    store, spec = Store(tmp_path / "models"), repository(hub, source())
    environ = {**os.environ, "HF_ENDPOINT": hub.url}
    first = prepare(spec, store, CPU, environ=environ)
    shutil.rmtree(store.folder(spec))
    found = find(spec, store, CPU)
    assert found is not None
    assert found.folder == first.folder
    assert find(spec, store, CUDA) is not None
    assert find(spec.model_copy(update={"device": "cuda"}), store, CUDA) is None


def test_existing_weights_are_converted_without_downloads(
    tmp_path: Path, hub: Hub, source: Callable[..., Path]
) -> None:
    store, spec = Store(tmp_path / "models"), repository(hub, source())
    with pytest.raises(WeightsError, match="are not in"):
        prepare(spec, store, CPU, download=False)
    shutil.copytree(tmp_path / "source", store.folder(spec))
    assert prepare(spec, store, CPU, download=False).folder.name.endswith("-int8-v3")
