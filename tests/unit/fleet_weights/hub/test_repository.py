"""Complete fetches from a server with the API of the hub."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch, is_there, locate
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy

TOKEN = "hf_not-a-real-token"
WEIGHTS = b"numbers" * 50_000
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"\x80\x02pickle",
    "modeling_acme.py": b"raise SystemExit",
    "1_Pooling/config.json": b"{}",
}


def spec(source: str = "hf://acme/encoder@main", **fields: Any) -> ModelSpec:
    return ModelSpec(model="acme/encoder", source=source, **fields)


@pytest.fixture
def pull(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> Callable[..., Path]:
    def run(of: ModelSpec, **environ: str) -> Path:
        variables = {"HF_ENDPOINT": server.url, **environ}
        return fetch(of, Store(tmp_path / "models"), environ=variables, retry_policy=fast_retries)

    return run


def names(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder)) for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".")
    }  # fmt: skip


def test_fetches_what_makes_up_the_model(
    server: Any, pull: Callable[..., Path], tmp_path: Path
) -> None:
    server.put_repository("acme/encoder", FILES)
    folder = pull(spec())
    assert names(folder) == {
        "config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not (tmp_path / "models/.staging" / folder.name).exists()
    record = json.loads((folder / ".modelfleet.json").read_text())
    assert record["files"]["model.safetensors"]["bytes"] == len(WEIGHTS)


def test_a_second_call_needs_no_network(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/encoder", FILES)
    first = pull(spec())
    asked = len(server.seen)
    assert pull(spec()) == first
    assert len(server.seen) == asked


def test_another_revision_is_another_folder(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/encoder", FILES)
    server.put_repository(
        "acme/encoder", FILES | {"model.safetensors": b"v2"}, revision="v2", commit="beef"
    )
    first, second = pull(spec()), pull(spec("hf://acme/encoder@v2"))
    assert first != second
    assert (first / "model.safetensors").read_bytes() == WEIGHTS
    assert (second / "model.safetensors").read_bytes() == b"v2"


def test_one_file_of_a_repository(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/gguf", {"q4/a.gguf": b"GGUF four", "q8/a.gguf": b"GGUF eight"})
    folder = pull(spec("hf://acme/gguf@main/q8/a.gguf"))
    assert names(folder) == {"a.gguf"}
    assert (folder / "a.gguf").read_bytes() == b"GGUF eight"


def test_one_file_and_its_image_projector(server: Any, pull: Callable[..., Path]) -> None:
    content = b"GGUF eight"
    server.put_repository("acme/gguf", {
        "q8/a.gguf": content, "q8/mmproj-F16.gguf": b"GGUF eyes", "mmproj-F16.gguf": b"GGUF no",
    })  # fmt: skip
    source, known = "hf://acme/gguf@main/q8/a.gguf", hashlib.sha256(content).hexdigest()
    assert names(pull(spec(source))) == {"a.gguf"}
    folder = pull(spec(source, vision=True, sha256=known))
    assert names(folder) == {"a.gguf", "mmproj-F16.gguf"}
    assert (folder / "mmproj-F16.gguf").read_bytes() == b"GGUF eyes"


def test_a_model_in_parts_in_a_folder(server: Any, pull: Callable[..., Path]) -> None:
    parts = {f"q8/m-0000{number}-of-00002.gguf": b"GGUF" for number in (1, 2)}
    server.put_repository("acme/gguf", parts)
    folder = pull(spec("hf://acme/gguf@main/q8/m-00001-of-00002.gguf"))
    assert names(folder) == {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}


def test_one_file_with_another_checksum_than_the_spec(
    server: Any, pull: Callable[..., Path]
) -> None:
    server.put_repository("acme/gguf", {"a.gguf": b"GGUF"})
    with pytest.raises(WeightsError, match="0000"):
        pull(spec("hf://acme/gguf@main/a.gguf", sha256="0" * 64))


def test_a_folder_of_a_repository(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/two", {"a/model.safetensors": b"A", "b/model.safetensors": b"B"})
    folder = pull(spec("hf://acme/two@main/b"))
    assert names(folder) == {"model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == b"B"


def test_a_failed_fetch_is_resumed_later(
    server: Any, pull: Callable[..., Path], tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    server.put_repository("acme/encoder", FILES)
    path = "/acme/encoder/resolve/c0ffee/model.safetensors"
    server.answers[path].break_after = 200_000
    store, once = Store(tmp_path / "models"), replace(fast_retries, attempts=1)
    with pytest.raises(WeightsError, match=r"broke off|could not be reached"):
        fetch(spec(), store, environ={"HF_ENDPOINT": server.url}, retry_policy=once)
    assert not is_there(spec(), store)
    assert (pull(spec()) / "model.safetensors").read_bytes() == WEIGHTS
    assert server.headers(path)[-1]["range"].startswith("bytes=")


def test_pickles_are_never_requested(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/old", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(WeightsError, match="no weights"):
        pull(spec("hf://acme/old"))
    assert [path for path, _ in server.seen] == ["/api/models/acme/old/revision/main"]


@pytest.mark.parametrize("path", ["../../etc/x.json", "/etc/x.json", "a/../../x.json"])
def test_a_listing_that_leads_outside_is_refused(
    server: Any, pull: Callable[..., Path], tmp_path: Path, path: str
) -> None:
    server.put_repository("acme/evil", {path: b"{}", "model.safetensors": b"x"})
    with pytest.raises(WeightsError, match="outside"):
        pull(spec("hf://acme/evil"))
    assert list(tmp_path.rglob("x.json")) == []


@pytest.mark.parametrize("listing", [b"[]", b"{}", b'{"siblings": [{}]}', b"<html>", b'"x"'])
def test_an_invalid_listing_of_the_hub(
    server: Any, pull: Callable[..., Path], listing: bytes
) -> None:
    server.put("/api/models/acme/encoder/revision/main", listing)
    with pytest.raises(WeightsError) as caught:
        pull(spec())
    assert "HF_ENDPOINT" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "token", "words"),
    [
        (401, "GatedRepo", "", "set HF_TOKEN"),
        (401, "RepoNotFound", "", "misspelt"),
        (403, "GatedRepo", TOKEN, "accept its terms"),
        (404, "RevisionNotFound", "", "revision is not"),
        (404, "RepoNotFound", TOKEN, "repository's name"),
    ],
)
def test_refusals_have_a_hint(
    server: Any, pull: Callable[..., Path], status: int, code: str, token: str, words: str
) -> None:
    server.put(
        "/api/models/acme/encoder/revision/main", b"no", status=status,
        headers={"x-error-code": code, "x-error-message": "Access is restricted."},
    )  # fmt: skip
    with pytest.raises(WeightsError, match="Access is restricted") as caught:
        pull(spec(), HF_TOKEN=token)
    assert words in caught.value.hint
    assert TOKEN not in str(caught.value)
    assert len(server.seen) == 1


def test_the_token_is_sent_to_the_hub_only(
    server: Any, new_server: Callable[[], Any], pull: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Large files are redirected to storage of another host."""
    caplog.set_level(logging.DEBUG)
    storage = new_server()
    server.put_repository("acme/encoder", FILES)
    stored = storage.put("/blob", WEIGHTS)
    path = "/acme/encoder/resolve/c0ffee/model.safetensors"
    server.put(path, status=302, headers={"location": f"{stored}?signature=secret"})
    folder = pull(spec(), HF_TOKEN=TOKEN)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for _, headers in server.seen)
    assert all("authorization" not in headers for _, headers in storage.seen)
    assert TOKEN not in caplog.text
    assert all(TOKEN.encode() not in file.read_bytes() for file in folder.rglob("*.json"))


def test_the_stored_token_of_a_login_is_used(
    server: Any, pull: Callable[..., Path], tmp_path: Path
) -> None:
    """`hf auth login` writes it to HF_HOME; HF_TOKEN takes precedence."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    server.put_repository("acme/encoder", FILES)
    pull(spec(), HF_HOME=str(tmp_path))
    assert {headers["authorization"] for _, headers in server.seen} == {f"Bearer {TOKEN}"}
    server.seen.clear()
    server.put_repository("acme/encoder", FILES, revision="v2")
    pull(spec("hf://acme/encoder@v2"), HF_HOME=str(tmp_path), HF_TOKEN="hf_other")
    assert {headers["authorization"] for _, headers in server.seen} == {"Bearer hf_other"}


def test_errors_of_the_storage_do_not_contain_its_signature(
    server: Any, new_server: Callable[[], Any], pull: Callable[..., Path]
) -> None:
    storage = new_server()
    server.put_repository("acme/encoder", FILES)
    server.put(
        "/acme/encoder/resolve/c0ffee/model.safetensors", status=302,
        headers={"location": f"{storage.url}/gone?signature=secret"},
    )  # fmt: skip
    with pytest.raises(WeightsError) as caught:
        pull(spec(), HF_TOKEN=TOKEN)
    assert "secret" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_broken_token_is_not_repeated(pull: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match="HF_TOKEN") as caught:
        pull(spec(), HF_TOKEN="with space")
    assert "with space" not in str(caught.value)


def test_a_snapshot_of_the_hub_cache_is_used(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--acme--encoder"
    snapshot = repository / "snapshots/abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    store = Store(tmp_path)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="not in"):
        locate(spec(), store)
    (snapshot / "model.safetensors").write_bytes(b"x")
    assert locate(spec(), store) == snapshot
    shard = "model-00002-of-00002.safetensors"
    index = {"weight_map": {"a": "model.safetensors", "b": shard}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not is_there(spec(), store)
    (snapshot / shard).write_bytes(b"y")
    assert is_there(spec(), store)


def onnx_graph(*locations: str) -> bytes:
    """A graph of initialisers whose data is in these files."""
    tensors = []
    for number, location in enumerate(locations):
        tensor = TensorProto(name=f"t{number}", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensors.append(tensor)
    made: bytes = helper.make_model(helper.make_graph([], "g", [], [], tensors)).SerializeToString()
    return made


ONNX_FILES = {
    "config.json": b'{"model_type": "xlm-roberta"}',
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"\x80\x02pickle",
    "colbert_linear.pt": b"PK\x03\x04",
    "onnx/model.onnx": onnx_graph("model.onnx_data", "Constant_7_attr__value"),
    "onnx/model.onnx_data": b"data" * 9,
    "onnx/Constant_7_attr__value": b"value" * 9,
    "onnx/tokenizer.json": b"{}",
    "onnx/model_quantized.onnx": b"other",
    "onnx/unrelated": b"other",
}


def test_every_file_an_onnx_graph_names_is_fetched(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/encoder", ONNX_FILES)
    folder = pull(spec())
    assert names(folder) == {
        "config.json", "tokenizer.json", "onnx/model.onnx", "onnx/model.onnx_data",
        "onnx/Constant_7_attr__value",
    }  # fmt: skip
    for path in names(folder):
        assert (folder / path).read_bytes() == ONNX_FILES[path]
    asked = [path for path, _ in server.seen]
    assert len(asked) == len(set(asked))


def test_external_data_of_a_subfolder(server: Any, pull: Callable[..., Path]) -> None:
    inner = {f"small/{path}": body for path, body in ONNX_FILES.items()}
    server.put_repository("acme/encoder", inner)
    folder = pull(spec("hf://acme/encoder@main/small"))
    assert "onnx/Constant_7_attr__value" in names(folder)


def test_external_data_is_checked_like_any_file(server: Any, pull: Callable[..., Path]) -> None:
    server.put_repository("acme/encoder", ONNX_FILES)
    server.answers["/acme/encoder/resolve/c0ffee/onnx/Constant_7_attr__value"].body = b"VALUE" * 9
    with pytest.raises(WeightsError, match="Constant_7_attr__value has the sha256"):
        pull(spec())


def test_missing_external_data(server: Any, pull: Callable[..., Path]) -> None:
    files = {path: body for path, body in ONNX_FILES.items() if "Constant" not in path}
    server.put_repository("acme/encoder", files)
    with pytest.raises(WeightsError, match="does not hold onnx/Constant_7_attr__value"):
        pull(spec())


@pytest.mark.parametrize("location", ["../config.json", "pytorch_model.bin"])
def test_a_graph_cannot_name_any_file(
    server: Any, pull: Callable[..., Path], location: str
) -> None:
    server.put_repository("acme/encoder", ONNX_FILES | {"onnx/model.onnx": onnx_graph(location)})
    with pytest.raises(WeightsError, match="keeps tensors in"):
        pull(spec())
