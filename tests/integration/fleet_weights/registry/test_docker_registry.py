"""Weights in images, fetched from Debian's docker-registry with a login."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy
from support.image_registry import PASSWORD, USER, archive
from support.ports import free_port
from support.required import require_program
from support.waiting import until

HASH = "$2b$04$Zn0/eT5nHPuEfQaYzVhl8u150q.b94ipPTm9BMkEGBtwaYzaPftqm"
"""bcrypt of PASSWORD, as in an htpasswd file."""
WEIGHTS = bytes(range(256)) * 4000
FILES = {"models/model.safetensors": WEIGHTS, "models/config.json": b"{}",
         "models/tokenizer.json": b"{}"}  # fmt: skip
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Registry:
    """Its address, and pushes by the HTTP API (github.com/opencontainers/distribution-spec)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._http = httpx.Client(
            base_url=f"http://{address}", auth=(USER, PASSWORD), trust_env=False
        )

    def push(self, name: str, tag: str, layers: list[tuple[str, bytes, str]]) -> str:
        """Push an image of layers (media type, content, title); its digest."""
        config = self._blob(name, b"{}")
        entries = []
        for kind, data, title in layers:
            notes = {"annotations": {"org.opencontainers.image.title": title}} if title else {}
            entries.append({"mediaType": kind, **self._blob(name, data), **notes})
        kind = "application/vnd.oci.image.config.v1+json"
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": kind, **config},
                "layers": entries}  # fmt: skip
        done = self._http.put(
            f"/v2/{name}/manifests/{tag}", content=json.dumps(body),
            headers={"content-type": MANIFEST},
        ).raise_for_status()  # fmt: skip
        return done.headers["docker-content-digest"]

    def _blob(self, name: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        begun = self._http.post(f"/v2/{name}/blobs/uploads/").raise_for_status()
        place = httpx.URL(begun.headers["location"]).copy_merge_params({"digest": digest})
        self._http.put(place, content=data).raise_for_status()
        return {"digest": digest, "size": len(data)}

    def close(self) -> None:
        self._http.close()

    def answers(self) -> bool:
        try:
            return self._http.get("/v2/").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    require_program("docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    (folder / "users").write_text(f"{USER}:{HASH}\n")
    config = {
        "version": "0.1", "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "r", "path": str(folder / "users")}},
    }  # fmt: skip
    (folder / "config.yml").write_text(json.dumps(config))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        ) as process,
    ):
        made = Registry(address)
        try:
            until(made.answers, state=(folder / "log").read_text)
            yield made
        finally:
            made.close()
            process.kill()


@pytest.fixture
def pull(registry: Registry, tmp_path: Path, fast_retries: RetryPolicy, no_proxy: None) -> Any:
    def pull(reference: str, password: str = PASSWORD) -> dict[str, bytes]:
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        login = json.dumps({"auths": {registry.address: {"auth": auth}}})
        spec = ModelSpec(model="org/m", source=f"oci://{registry.address}/{reference}")
        folder = fetch(
            spec, Store(tmp_path), environ={"DOCKER_AUTH_CONFIG": login}, retry_policy=fast_retries
        )
        return {f"models/{file.name}": file.read_bytes() for file in folder.iterdir()
                if file.name[0] != "."}  # fmt: skip

    return pull


def test_an_image_by_tag_and_by_digest(registry: Registry, pull: Any) -> None:
    layer = gzip.compress(archive(FILES))
    digest = registry.push("team/weights", "1", [(LAYER, layer, "")])
    assert pull("team/weights:1") == FILES
    assert pull(f"team/weights@{digest}") == FILES


def test_files_as_oras_pushes_them(registry: Registry, pull: Any) -> None:
    layers = [("application/octet-stream", data, name.removeprefix("models/"))
              for name, data in FILES.items()]  # fmt: skip
    registry.push("team/files", "1", layers)
    assert pull("team/files:1") == FILES


def test_a_wrong_login_and_an_unknown_tag(registry: Registry, pull: Any) -> None:
    registry.push("team/other", "1", [(LAYER, gzip.compress(archive(FILES)), "")])
    with pytest.raises(WeightsError, match="401"):
        pull("team/other:1", password="wrong")
    with pytest.raises(WeightsError, match="404"):
        pull("team/other:2")
