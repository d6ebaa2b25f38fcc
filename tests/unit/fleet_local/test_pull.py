"""Pulling several models: existing weights are kept, the first failure stops the rest."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Rich

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError
from fleet_local.output.console import Console
from fleet_local.pull import in_daemon_thread, pull
from fleet_prepare.machine import Machine
from fleet_weights import fetch as fetching
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.store import Store

Spec = Callable[..., ModelSpec]
CPU = Machine("cpu", has_torch=False)
NOWHERE = "pypi://modelfleet-weights-that-nobody-published==1.0/file.gguf"


def encoder(folder: Path, family: str = "bert") -> Path:
    """The files that decide an engine, of an encoder."""
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return folder


@pytest.fixture
def console() -> Console:
    return Console(Rich(file=io.StringIO(), force_terminal=False))


def printed(console: Console) -> str:
    text: str = console.rich.file.getvalue()  # type: ignore[attr-defined]
    return text


async def test_weights_on_disk_are_not_downloaded(
    tmp_path: Path, spec: Spec, console: Console
) -> None:
    given = spec(source=f"file://{encoder(tmp_path / 'own')}", task="embedding")
    for download in (True, False):
        await pull([given], Store(tmp_path), {}, download=download, console=console, machine=CPU)
    assert printed(console) == ""


async def test_weights_without_an_engine_on_this_machine_are_refused(
    tmp_path: Path, spec: Spec, console: Console
) -> None:
    given = spec(source=f"file://{encoder(tmp_path / 'own', 'electra')}", task="embedding")
    with pytest.raises(StartError, match="needs the torch engine") as caught:
        await pull([given], Store(tmp_path), {}, download=True, console=console, machine=CPU)
    assert "make up TORCH=1" in caught.value.hint


async def test_missing_weights_are_refused_without_download(
    tmp_path: Path, spec: Spec, console: Console
) -> None:
    with pytest.raises(StartError) as caught:
        await pull(
            [spec(source=NOWHERE)],
            Store(tmp_path),
            {},
            download=False,
            console=console,
            machine=CPU,
        )
    assert "acme/chat" in caught.value.message
    assert "AUTO_DOWNLOAD_MODELS" in caught.value.hint


async def test_a_file_that_is_not_there_is_refused(
    tmp_path: Path, spec: Spec, console: Console
) -> None:
    given = spec(source=f"file://{tmp_path}/none")
    with pytest.raises(StartError, match="acme/chat"):
        await pull([given], Store(tmp_path), {}, download=True, console=console, machine=CPU)


async def test_the_first_failure_stops_the_other_downloads(
    tmp_path: Path, spec: Spec, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Barrier(2), threading.Event()

    def fetch(
        one: ModelSpec, store: Store, progress: Any, *, stop: threading.Event, **_: Any
    ) -> None:
        begun.wait(30)
        if one.model == "acme/bad":
            raise WeightsError("No such package.", "Check the name.")
        assert stop.wait(30)
        stopped.set()
        raise Stopped

    monkeypatch.setattr(fetching, "fetch", fetch)
    specs = [
        spec("acme/bad", source=NOWHERE),
        spec("acme/good", source=NOWHERE.replace("1.0", "2.0")),
    ]
    with pytest.raises(StartError) as caught:
        await pull(specs, Store(tmp_path), {}, download=True, console=console, machine=CPU)
    assert (caught.value.message, caught.value.hint) == ("No such package.", "Check the name.")
    assert stopped.is_set()
    assert "fetching acme/bad" in printed(console)


async def test_a_stop_while_fetching_ends_the_downloads(
    tmp_path: Path, spec: Spec, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def fetch(*_: Any, stop: threading.Event, **__: Any) -> None:
        begun.set()
        assert stop.wait(30)
        stopped.set()
        raise Stopped

    monkeypatch.setattr(fetching, "fetch", fetch)
    given = [spec(source=NOWHERE)]
    task = asyncio.create_task(
        pull(given, Store(tmp_path), {}, download=True, console=console, machine=CPU)
    )
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert stopped.is_set()


async def test_errors_in_a_thread_are_raised_by_the_caller() -> None:
    await in_daemon_thread(lambda: 5)
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 / 0)
