"""Models in caches of the hub's own library: they are searched, but never written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch, is_there, locate
from fleet_weights.hub import cache as hub_cache
from fleet_weights.store import Store

MODEL = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"x"}


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(model="acme/encoder", source="hf://acme/encoder@main")


def put(cache: Path, files: dict[str, bytes] = MODEL, revision: str = "main") -> Path:
    """A repository of the cache, its files links to blobs; the snapshot's folder."""
    repository = cache / "models--acme--encoder"
    snapshot = repository / "snapshots" / "c0ffee"
    (repository / "blobs").mkdir(parents=True)
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True)
    reference.write_text("c0ffee")
    for number, (name, content) in enumerate(files.items()):
        blob = repository / "blobs" / str(number)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    return snapshot


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"HF_HUB_CACHE": "/c", "HF_HOME": "/h", "HOME": "/u"}, ["/c"]),
        ({"HUGGINGFACE_HUB_CACHE": "/c"}, ["/c"]),
        ({"HF_HOME": "/h", "HOME": "/u"}, ["/h/hub"]),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/u"}, ["/x/huggingface/hub"]),
        ({"HF_HUB_CACHE": "", "HF_HOME": "", "HOME": "/u"}, ["/u/.cache/huggingface/hub"]),
        ({}, []),
    ],
)
def test_where_the_hubs_library_keeps_its_cache(environ: dict[str, str], found: list[str]) -> None:
    assert hub_cache.folders(environ) == tuple(map(Path, found))


@pytest.mark.parametrize("cache", ["models", "models/hub", "home/.cache/huggingface/hub"])
def test_every_location_of_a_cache_is_searched(spec: ModelSpec, tmp_path: Path, cache: str) -> None:
    """`models` is the folder of Simple Inference Server."""
    snapshot = put(tmp_path / cache)
    store = Store.of({"MODELS_DIR": str(tmp_path / "models"), "HOME": str(tmp_path / "home")})
    assert is_there(spec, store)
    assert locate(spec, store) == fetch(spec, store, environ={}) == snapshot


def test_the_stores_own_folder_comes_first(spec: ModelSpec, tmp_path: Path) -> None:
    put(tmp_path)
    store = Store(tmp_path)
    store.folder(spec).mkdir()
    assert locate(spec, store) == store.folder(spec)


def test_a_revision_of_a_pull_request(tmp_path: Path) -> None:
    snapshot = put(tmp_path, revision="refs/pr/4")
    spec = ModelSpec(model="acme/encoder", source="hf://acme/encoder@refs/pr/4")
    assert locate(spec, Store(tmp_path)) == snapshot


def test_one_gguf_of_many_and_a_folder(tmp_path: Path) -> None:
    files = {"a-Q4.gguf": b"a", "a-Q8.gguf": b"b", **{f"onnx/{k}": v for k, v in MODEL.items()}}
    snapshot = put(tmp_path, files)

    def found(path: str) -> Path | None:
        source = f"hf://acme/encoder@main{path}"
        return hub_cache.find(ModelSpec(model="a/b", source=source), (tmp_path,))

    assert found("/a-Q8.gguf") == snapshot / "a-Q8.gguf"
    assert found("/onnx") == snapshot / "onnx"
    assert found("/a-Q2.gguf") is None
    assert found("/onnx/config.json") is None


def test_a_file_with_a_checksum_is_not_taken_from_the_cache(
    spec: ModelSpec, tmp_path: Path
) -> None:
    """A spec with a hash names bytes that the cache does not verify."""
    put(tmp_path, {"a.gguf": b"a"})
    pinned = spec.model_copy(update={"source": f"{spec.source}/a.gguf", "sha256": "0" * 64})
    assert hub_cache.find(pinned, (tmp_path,)) is None


def test_a_broken_cache_is_ignored(spec: ModelSpec, tmp_path: Path) -> None:
    snapshot = put(tmp_path)
    (snapshot.parents[1] / "refs/main").write_text("../../../elsewhere")
    with pytest.raises(WeightsError, match="not in"):
        locate(spec, Store(tmp_path))


def test_paths_inside_a_snapshot() -> None:
    assert hub_cache.is_inside(Path("/m/models--a--b/snapshots/c/x/model.gguf"))
    assert not hub_cache.is_inside(Path("/m/a--b-0123456789/model.gguf"))
    assert not hub_cache.is_inside(Path("/snapshots/model.gguf"))


def test_a_handler_without_a_source_needs_no_weights(tmp_path: Path) -> None:
    store = Store(tmp_path)
    spec = ModelSpec(model="acme/own", handler="acme.Model")
    assert is_there(spec, store)
    assert locate(spec, store) == fetch(spec, store, environ={}) == tmp_path
    with_source: Callable[..., ModelSpec] = spec.model_copy
    assert not is_there(with_source(update={"source": "hf://acme/own@main"}), store)
