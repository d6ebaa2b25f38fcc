"""`modelfleet list` and `rm`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from fleet_cli import stored as command
from fleet_contract.spec import ModelSpec
from fleet_weights import record
from fleet_weights.adapters import companions
from fleet_weights.store import Store, folder_name
from fleet_weights.stored import listed

SPECS = {
    name: ModelSpec.model_validate({"model": name, "source": f"hf://{name}"})
    for name in ("acme/big", "acme/small")
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two models, the larger one with a conversion, and an unfinished download."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELS_DIR_LIMIT", raising=False)
    store = Store(tmp_path / "models")
    big, small = SPECS.values()
    folders = {
        store.folder(big): 3000, store.folder(big, ".chat-int8"): 1000, store.folder(small): 2000,
        store.staging(ModelSpec(model="acme/new")): 10,
    }  # fmt: skip
    for folder, size in folders.items():
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * size)
        if ".staging" not in folder.parts:
            model = "acme/big" if "big" in folder.name else "acme/small"
            record.write(folder, {"model": model, "source": f"hf://{model}"}, {})
    return store


def run(app: object, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))  # type: ignore[arg-type]
    return done.exit_code, done.stdout, done.stderr


def test_the_largest_first(store: Store) -> None:
    status, output, _ = run(command.list_app, "--models-dir", str(store.root), "--json")
    assert status == 0
    found = json.loads(output)
    assert [(each["model"], each["complete"]) for each in found] == [
        ("acme/big", True), ("acme/small", True), ("acme/new", False),
    ]  # fmt: skip
    assert found[0]["bytes"] > 4000
    assert found[0]["conversions"] == [".chat-int8"]
    lines = run(command.list_app, "--models-dir", str(store.root))[1].splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "acme/big", "acme/small", "acme/new (incomplete)",
    ]  # fmt: skip
    assert lines[0].split("\t")[1:] == ["0 MB", "today", "chat-int8", "hf://acme/big"]


def test_sizes_and_ages(store: Store) -> None:
    one = listed(store)[0]
    assert command.cells(one, one.used + 2.5 * 86400)[2] == "2 days ago"
    assert command.cells(one, time.time())[2] == "today"
    assert [command.size(number) for number in (1.44e9, 94e6)] == ["1.4 GB", "94 MB"]


def test_rm_deletes_the_conversions_too(store: Store) -> None:
    status, output, _ = run(command.rm_app, "acme/big", "--models-dir", str(store.root))
    assert (status, output) == (0, "deleted acme/big (0 MB)\n")
    assert [one.model for one in listed(store)] == ["acme/small", "acme/new"]
    assert not any("evicted" in path.name for path in store.root.rglob("*"))


def test_unknown_weights_are_named_with_those_on_disk(store: Store) -> None:
    status, _, error = run(command.rm_app, "acme/x", "--models-dir", str(store.root))
    assert status == 2
    assert "no weights of 'acme/x'; on disk: acme/big, acme/new, acme/small" in error


def test_weights_of_a_running_fleet_are_kept(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "8000"
    folder.mkdir(parents=True)
    routes = {"models": [{"spec": SPECS["acme/big"].to_wire(), "endpoints": []}]}
    (folder / "routes.json").write_text(json.dumps(routes))
    with FileLock(folder / "lock"):
        assert command.in_use(tmp_path / "run") == {folder_name(SPECS["acme/big"])}
        status, output, error = run(
            command.rm_app, "acme/big", "acme/small", "--models-dir", str(store.root)
        )
    assert (status, output) == (1, "deleted acme/small (0 MB)\n")
    assert "acme/big is in use" in error
    assert command.in_use(tmp_path / "run") == set()


def test_adapters_and_draft_models_of_a_running_fleet_are_in_use(tmp_path: Path) -> None:
    spec = ModelSpec.model_validate(
        {
            "model": "acme/chat",
            "engine": "llamacpp",
            "source": "hf://acme/chat",
            "adapters": [{"name": "style", "source": "hf://acme/style"}],
            "speculative": {"draft": {"source": "hf://acme/draft"}},
        }
    )
    folder = tmp_path / "run" / "8000"
    folder.mkdir(parents=True)
    (folder / "routes.json").write_text(json.dumps({"models": [{"spec": spec.to_wire()}]}))
    with FileLock(folder / "lock"):
        assert command.in_use(tmp_path / "run") == {
            folder_name(each) for each in (spec, *companions(spec))
        }
    assert len(companions(spec)) == 2


def test_weights_that_are_being_fetched_or_converted_are_kept(store: Store) -> None:
    big = SPECS["acme/big"]
    for lock in (store.lock(big), store.lock(big, ".chat-int8")):
        with FileLock(lock):
            status, _, error = run(command.rm_app, "acme/big", "--models-dir", str(store.root))
            assert (status, error) == (1, "modelfleet rm: acme/big is in use.\n")
            assert store.folder(big).exists()
    assert run(command.rm_app, "acme/big", "--models-dir", str(store.root))[0] == 0
    assert not store.folder(big).exists()


def test_of_a_link_to_a_folder_the_link_is_deleted(store: Store, tmp_path: Path) -> None:
    folder, elsewhere = store.folder(SPECS["acme/small"]), tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert run(command.rm_app, "acme/small", "--models-dir", str(store.root))[0] == 0
    assert not folder.is_symlink()
    assert (elsewhere / "weights").exists()
    assert not any("evicted" in path.name for path in store.root.rglob("*"))
