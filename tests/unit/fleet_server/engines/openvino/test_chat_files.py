from __future__ import annotations

from pathlib import Path

from fleet_server.engines.openvino.chat_files import IrWriter


def test_the_hubs_cache_is_not_changed(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b/snapshots/c0ffee"
    own = tmp_path / "a--b-0123456789"
    for folder in (snapshot, own):
        folder.mkdir(parents=True)
        (folder / "model.gguf").touch()
    assert IrWriter.create(snapshot / "model.gguf") is None
    assert [path.name for path in snapshot.iterdir()] == ["model.gguf"]
    writer = IrWriter.create(own / "model.gguf")
    assert writer is not None
    writer.abandon()
