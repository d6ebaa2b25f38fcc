"""Compatibility with huggingface_hub and its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.fetch import fetch, locate
from fleet_weights.store import Store
from fleet_weights.transfer import web_client

WEIGHTS = b"numbers" * 50_000
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"\x80\x02pickle",
    "modeling_acme.py": b"raise SystemExit",
    "1_Pooling/config.json": b"{}",
}


def spec() -> ModelSpec:
    return ModelSpec(model="acme/encoder", source="hf://acme/encoder@main")


def test_downloads_of_huggingface_hub_are_used(server: Any, tmp_path: Path) -> None:
    """This also verifies that the fake server of these tests is compatible with the hub."""
    server.put_repository("acme/encoder", FILES, commit="c0ffee" * 6 + "abcd")
    program = (
        "from huggingface_hub import snapshot_download\n"
        "print(snapshot_download('acme/encoder', ignore_patterns=['*.py', 'pytorch*']))"
    )
    environ = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"),
               "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
               "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = locate(spec(), Store(tmp_path / "home"))
    assert found == Path(ended.stdout.strip())
    assert (found / "model.safetensors").read_bytes() == WEIGHTS
    assert fetch(spec(), Store(tmp_path / "home"), environ={"HF_ENDPOINT": "http://[::1]:1"})


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HF_TOKEN_PATH": "/a/token", "HF_HOME": "/b"}, "/a/token"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/token"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/d"}, "/c/huggingface/token"),
        ({"HOME": "/d"}, "/d/.cache/huggingface/token"),
    ],
)
def test_the_token_file_of_huggingface_hub(environ: dict[str, str], path: str) -> None:
    program = "from huggingface_hub import constants; print(constants.HF_TOKEN_PATH)"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == path
    assert str(web_client._token_file(environ)) == path
