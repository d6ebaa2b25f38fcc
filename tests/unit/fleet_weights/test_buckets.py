"""Weights in a bucket, from a server with the two requests of S3 that are used."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store

OBJECTS = {
    "models/m/model.safetensors": b"w" * 1000,
    "models/m/config.json": b"{}",
    "models/m/tokenizer.json": b"{}",
    "models/m/pytorch_model.bin": b"pickle",
    "models/m2/model.gguf": b"other",
}
regions: set[str] = set()
"""Regions of the signatures of the running test."""
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-1"}


class Bucket(BaseHTTPRequestHandler):
    """ListObjectsV2, HeadObject and GetObject of the bucket `weights`
    (docs.aws.amazon.com/AmazonS3/latest/API), for requests signed by the key `id`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query, key = parse_qs(parts.query), unquote(parts.path).removeprefix("/weights/")
        signer = self.headers.get("authorization", "") + "".join(query.get("X-Amz-Credential", ()))
        if found := re.search(r"id/[0-9]{8}/([^/]+)/s3", signer):
            regions.add(found[1])
        if "id/" not in signer:
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(body)}</Size><ETag>e</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, body in OBJECTS.items() if name.startswith(prefix)
            )  # fmt: skip
            self._send(200, f"<ListBucketResult>{found}</ListBucketResult>".encode())
        elif key in OBJECTS:
            self._send(200, OBJECTS[key])
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("etag", '"e"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the output of tests short."""


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """The address of the bucket and its keys."""
    regions.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()
        thread.join()


def fetched(folder: Path, environ: dict[str, str], source: str, **spec: str) -> Path:
    return fetch(ModelSpec(model="org/m", source=source, **spec), Store(folder), environ=environ)


def test_the_files_below_a_prefix(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = fetched(tmp_path, environ, "s3://weights/models/m")
    names = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert "pytorch_model.bin" not in names
    assert (folder / "model.safetensors").read_bytes() == OBJECTS["models/m/model.safetensors"]
    assert not any("secret" in file.read_text(errors="replace") for file in folder.iterdir())


def test_the_endpoint_of_the_spec_precedes_that_of_the_environment(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    store = {"endpoint": environ["AWS_ENDPOINT_URL"], "region": "eu-2", "virtualHosted": False}
    spec = ModelSpec.model_validate({"model": "m", "source": "s3://weights/models/m", "s3": store})
    keys = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "wrong"}
    folder = fetch(spec, Store(tmp_path), environ=keys)
    assert (folder / "model.safetensors").read_bytes() == OBJECTS["models/m/model.safetensors"]
    assert regions == {"eu-2"}


def test_one_object(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = fetched(tmp_path, environ, "s3://weights/models/m2/model.gguf")
    assert (folder / "model.gguf").read_bytes() == b"other"
    with pytest.raises(WeightsError, match="sha256"):
        fetched(tmp_path, environ, "s3://weights/models/m2/model.gguf", sha256="0" * 64)


@pytest.mark.parametrize("change", [{"AWS_ACCESS_KEY_ID": "wrong"}, {}])
def test_what_cannot_be_listed(
    tmp_path: Path, environ: dict[str, str], change: dict[str, str]
) -> None:
    source = "s3://weights/models/m" if change else "s3://weights/models/nothing"
    with pytest.raises(WeightsError, match="cannot be listed") as caught:
        fetched(tmp_path, {**environ, **change}, source)
    assert "secret" not in str(caught.value)


def test_a_prefix_without_weights(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match="cannot be listed"):
        fetched(tmp_path, environ, "s3://weights/other")
