"""Weights in images, fetched from a registry on the loopback interface."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.registry import archive as archives
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy
from support.image_registry import BASIC, LAYER, PASSWORD, Images, archive, serving

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WEIGHTS = bytes(range(256)) * 400
PLAIN = {"models/model.safetensors": WEIGHTS, "models/config.json": b"{}",
         "models/tokenizer.json": b"{}"}  # fmt: skip


@pytest.fixture
def images() -> Iterator[Images]:
    with serving(Images()) as running:
        yield running


@pytest.fixture
def pull(tmp_path: Path, images: Images, fast_retries: RetryPolicy) -> Any:
    def pull(reference: str = "org/m:1", folder: str = "models", **given: Any) -> Path:
        environ = given.pop("environ", {})
        source = f"oci://127.0.0.1:{images.port}/{reference}"
        spec = ModelSpec(model="org/m", source=source, **given)
        store = Store(tmp_path / folder)
        return fetch(spec, store, environ=environ, retry_policy=fast_retries)

    return pull


def login(images: Images) -> dict[str, str]:
    return {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {f"127.0.0.1:{images.port}": {
        "auth": BASIC}}})}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*")
            if file.is_file() and not file.name.startswith(".")
            and file.suffix in (".json", ".safetensors", ".bin", ".gguf")}  # fmt: skip


def test_the_files_in_the_layers_of_an_image(images: Images, pull: Any) -> None:
    """Upper layers replace and remove files of lower ones; links are followed."""
    lower = archive({
        "models/model.safetensors": b"old", "models/special_tokens_map.json": b"gone",
        "models/pytorch_model.bin": b"pickle", "etc/passwd": b"root", "blobs/c": b"[]",
        "models/config.json": "../blobs/c", "models/vocab.json": "../../../../outside",
    })  # fmt: skip
    upper = archive({
        "models/model.safetensors": WEIGHTS, "models/.wh.special_tokens_map.json": b"",
    })  # fmt: skip
    images.manifest("1", [
        images.layer(gzip.compress(lower), f"{LAYER}+gzip"),
        images.layer(zstd.compress(upper), f"{LAYER}+zstd"),
    ])  # fmt: skip
    found = contents(pull())
    assert found == {"model.safetensors": WEIGHTS, "config.json": b"[]"}


def test_the_image_of_this_platform(
    images: Images, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [{"digest": images.manifest("x", [images.layer(b"attestation")]),
               "platform": {"architecture": "unknown"}}]  # fmt: skip
    for name in ("amd64", "arm64"):
        files = {**PLAIN, "models/config.json": json.dumps({"of": name}).encode()}
        digest = images.manifest(name, [images.layer(archive(files))])
        listed.append({"digest": digest, "platform": {"os": "linux", "architecture": name}})
    images.put("1", {"schemaVersion": 2, "manifests": listed})
    for machine, name in (("aarch64", "arm64"), ("x86_64", "amd64"), ("riscv64", "amd64")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        found = contents(pull(folder=machine))
        assert json.loads(found["config.json"]) == {"of": name}


def test_files_of_an_artifact(images: Images, pull: Any) -> None:
    """Two of them with the same content, which are one blob."""
    kind = "application/octet-stream"
    images.manifest("1", [images.layer(body, kind, name) for name, body in (
        ("model.safetensors", WEIGHTS), ("config.json", b"{}"), ("tokenizer.json", b"{}"),
    )])  # fmt: skip
    assert contents(pull()) == {
        "model.safetensors": WEIGHTS, "config.json": b"{}", "tokenizer.json": b"{}",
    }  # fmt: skip


def test_one_file_of_an_image(images: Images, pull: Any) -> None:
    images.manifest("1", [images.layer(archive({"a/m.gguf": b"weights", "b/n.gguf": b"other"}))])
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert contents(pull("org/m:1/a/m.gguf", sha256=sha256)) == {"m.gguf": b"weights"}
    with pytest.raises(WeightsError, match="has the sha256"):
        pull("org/m:1/b/n.gguf", sha256=sha256)
    with pytest.raises(WeightsError, match="must name one file"):
        pull("org/m:1/b", sha256=sha256)


def test_a_private_image_needs_a_login(images: Images, pull: Any) -> None:
    images.manifest("1", [images.layer(archive(PLAIN))])
    images.private = True
    wrong = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"other.example.com": {"auth": BASIC}}})}
    for environ in ({}, wrong):
        with pytest.raises(WeightsError, match="401") as caught:
            pull(environ=environ)
        assert PASSWORD not in str(caught.value)
        assert BASIC not in str(caught.value)
    folder = pull(environ=login(images))
    assert contents(folder)["model.safetensors"] == WEIGHTS
    assert not any(BASIC.encode() in file.read_bytes()
                   for file in folder.rglob("*") if file.is_file())  # fmt: skip


def test_a_token_that_expires_is_renewed(
    images: Images, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise another download may use a new token first.
    monkeypatch.setattr("fleet_weights.staging.AT_ONCE", 1)
    kind = "application/octet-stream"
    images.manifest("1", [images.layer(body, kind, name) for name, body in (
        ("model.safetensors", WEIGHTS), ("config.json", b"{}"), ("tokenizer.json", b"[]"),
    )])  # fmt: skip
    images.private, images.uses = True, 1
    assert len(contents(pull(environ=login(images)))) == 3
    assert len(images.tokens) > 3


def test_a_broken_download_is_resumed(images: Images, pull: Any) -> None:
    layer = images.layer(archive(PLAIN))
    images.manifest("1", [layer])
    images.cut[layer["digest"]] = 50_000
    assert contents(pull())["model.safetensors"] == WEIGHTS
    assert images.ranges == ["bytes=50000-"]


def test_what_is_not_of_its_digest_is_refused(images: Images, pull: Any) -> None:
    layer = images.layer(archive(PLAIN))
    digest = images.manifest("1", [layer])
    assert contents(pull(f"org/m@{digest}"))["model.safetensors"] == WEIGHTS
    images.manifests[digest] += b" "
    with pytest.raises(WeightsError, match="has the digest"):
        pull(f"org/m@{digest}", "again")
    images.blobs[layer["digest"]] = images.blobs[layer["digest"]].replace(b"{}", b"[]")
    with pytest.raises(WeightsError, match="has the sha256"):
        pull("org/m:1", "again")


def test_a_layer_is_not_larger_than_listed(images: Images, pull: Any) -> None:
    layer = images.layer(archive(PLAIN))
    images.manifest("1", [{**layer, "size": 10}])
    with pytest.raises(WeightsError, match="not 10 as listed"):
        pull()


def test_a_layer_unpacks_within_limits(
    images: Images, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SMALL", 100_000)
    bomb = gzip.compress(archive({"models/model.safetensors": bytes(20_000_000)}))
    images.manifest("1", [images.layer(bomb, f"{LAYER}+gzip")])
    with pytest.raises(WeightsError, match="unpacks to more bytes than allowed"):
        pull()
    monkeypatch.setattr(archives, "SMALL", 1 << 30)
    monkeypatch.setattr(archives, "MAX_HEADER_BYTES", 50_000)
    name = "models/" + "x" * 200_000 + ".json"  # an extended header, which is read whole
    images.manifest("1", [images.layer(archive({**PLAIN, name: b"{}"}))])
    with pytest.raises(WeightsError, match="unpacks to more bytes than allowed"):
        pull()
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    images.manifest("1", [images.layer(archive(PLAIN))])
    with pytest.raises(WeightsError, match="more than 2 files"):
        pull()


def test_no_path_leads_outside(images: Images, pull: Any, tmp_path: Path) -> None:
    files = {**PLAIN, "../../../escaped-1.json": b"evil", "models/../../escaped-2.json": b"evil"}
    images.manifest("1", [images.layer(archive(files))])
    assert set(contents(pull())) == {"model.safetensors", "config.json", "tokenizer.json"}
    assert not list(tmp_path.parent.glob("**/escaped-*.json"))


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ([1], "not a manifest"),
        ({"layers": "x"}, "no image"),
        ({"layers": [{"mediaType": LAYER, "digest": "sha256:../../x", "size": 1}]}, "not valid"),
        ({"layers": [{"mediaType": "other", "digest": f"sha256:{'0' * 64}", "size": 1}]}, "type"),
        ({"manifests": [{"digest": 3}]}, "no image"),
    ],
)
def test_manifests_that_cannot_be_read(
    images: Images, pull: Any, manifest: Any, words: str
) -> None:
    images.put("1", manifest)
    with pytest.raises(WeightsError, match=words):
        pull()


def test_a_damaged_layer(images: Images, pull: Any) -> None:
    images.manifest("1", [images.layer(b"not gzip", f"{LAYER}+gzip")])
    with pytest.raises(WeightsError, match="damaged"):
        pull()
