"""`modelfleet bench compare` with two addresses, and with the reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODELFLEET = Path(sys.executable).with_name("modelfleet")
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "german.ogg"


def compare(folder: Path, *arguments: str, **environ: str) -> dict[str, Any]:
    """The JSON report of a short comparison that wrote all its files."""
    done = subprocess.run(
        [MODELFLEET, "bench", "compare", "--output", str(folder), "--json", *arguments],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert json.loads((folder / "compare.json").read_text()) == found
    assert (folder / "compare.md").read_text().startswith("# Comparison")
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "compare.svg").read_text()
    return found


def figures(comparison: dict[str, Any]) -> dict[str, Any]:
    return {figure["name"]: figure for figure in comparison["figures"]}


def agreement(comparison: dict[str, Any]) -> dict[str, str]:
    return {fact["name"]: fact["text"] for fact in comparison["agreement"]}


def test_a_fleet_agrees_with_itself(fleet: Any, tmp_path: Path) -> None:
    prompts, texts = tmp_path / "prompts", tmp_path / "texts"
    prompts.write_text("What is the capital of France?\nName three primes.\n")
    texts.write_text("one\ntwo\n")
    server = fleet.server(CHAT)
    found = compare(
        tmp_path / "report", "--a", fleet.base_url, "--b", fleet.base_url,
        "--models", f"{CHAT},{EMBEDDING}",
        "--a-pid", str(server.pid), "--b-pid", str(server.pid),
        "--n-requests", "2", "--rounds", "1", "--warmup", "0", "--max-tokens", "8",
        "--prompts", str(prompts), "--texts", str(texts),
    )  # fmt: skip
    chat, embedding = found["comparisons"]
    assert [each["task"] for each in (chat, embedding)] == ["chat", "embedding"]
    assert agreement(chat)["equal outputs"] == "2 of 2"
    assert agreement(chat)["equal leading tokens"] == "100.0%"
    assert float(agreement(embedding)["cosine, minimum"]) > 0.9999
    measured = figures(chat)
    assert len(measured["tokens generated"]["a"]["rounds"]) == 1
    assert measured["first token, p50"]["b"]["median"] > 0
    assert measured["peak memory"]["a"]["median"] > 100
    assert figures(embedding)["inputs embedded"]["b"]["least"] > 0


def test_a_transcript_agrees_with_itself(fleet: Any, tmp_path: Path) -> None:
    found = compare(
        tmp_path, "--a", fleet.base_url, "--b", fleet.base_url, "--models", "whisper-base",
        "--n-requests", "1", "--rounds", "1", "--warmup", "0", "--file", str(SAMPLE),
    )  # fmt: skip
    [speech] = found["comparisons"]
    assert (speech["model"], speech["task"]) == ("whisper-base", "speech")
    assert agreement(speech)["word error rate against A"] == "0.0%"
    assert figures(speech)["speech"]["a"]["most"] > 0


@pytest.mark.weights
def test_minilm_agrees_with_transformers(
    demo_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    models = demo_weights(EMBEDDING).parent
    found = compare(
        tmp_path, "--models", "minilm", "--n-requests", "2", "--rounds", "1", "--warmup", "1",
        MODELS_DIR=str(models),
    )  # fmt: skip
    [comparison] = found["comparisons"]
    assert (comparison["a"], comparison["b"]) == ("transformers", "modelfleet, openvino (cpu)")
    assert float(agreement(comparison)["cosine, minimum"]) > 0.9999
    assert figures(comparison)["peak memory"]["a"]["median"] > 100


def test_an_address_without_a_server_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [MODELFLEET, "bench", "compare", "--a", "http://127.0.0.1:9", "--b", "http://127.0.0.1:9"],
        capture_output=True, text=True, timeout=180, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "http://127.0.0.1:9/v1/models cannot be read" in done.stderr
    assert "A and B are the same server and model" in done.stderr
    assert "Traceback" not in done.stderr
