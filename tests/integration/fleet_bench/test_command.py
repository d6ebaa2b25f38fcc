"""`modelfleet bench` as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_bench.command import app


def bench(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet_bench.command", *arguments],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["chat", "embeddings", "audio"])
def test_json(target: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    more = ["--file", str(tmp_path / "a.wav")] if kind == "audio" else []
    done = bench(
        kind, "--model", "m", "--base-url", target.url, "--n-requests", "5", "--concurrency", "2",
        "--json", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["workload"], found["model"], found["good"]) == (kind, "m", 5)
    assert found["latency"]["p99"] > 0
    assert done.stderr == ""


def test_variables_and_table(target: Any) -> None:
    done = bench(
        "chat", BASE_URL=target.url, MODEL_NAME="from-env", PROMPT="Why?", N_REQUESTS="3",
        CONCURRENCY="2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 good of 3" in done.stdout
    for figure in ("from-env", "time to first token", "tokens of one stream", "between chunks"):
        assert figure in done.stdout
    assert {body["messages"][0]["content"] for body in target.bodies} == {"Why?"}


def test_several_embedding_models(target: Any) -> None:
    done = bench(
        "embeddings", "--models", "acme/one, acme/two", "--n-requests", "3", "--concurrency", "2",
        "--json", BASE_URL=target.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["model"], each["good"]) for each in found] == [("acme/one", 3), ("acme/two", 3)]
    assert [body["model"] for body in target.bodies] == ["acme/one"] * 5 + ["acme/two"] * 5


def test_chat(target: Any) -> None:
    done = bench(
        "chat", "--model-name", "acme/chat", "--prompt", "Explain FP8 quantization",
        "--n-requests", "4", "--concurrency", "8", BASE_URL=target.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    prompts = {body["messages"][0]["content"] for body in target.bodies}
    assert (prompts, target.bodies[0]["model"]) == ({"Explain FP8 quantization"}, "acme/chat")


def test_audio_samples(target: Any) -> None:
    done = bench(
        "audio", "--", "--n-requests", "5", "--concurrency", "1",
        BASE_URL=target.url, MODEL_NAME="openai/whisper-tiny",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "5 good of 5" in done.stdout
    names = [body["name"] for body in target.bodies]
    assert names == ["german.ogg", *["english.ogg", "garden.ogg", "german.ogg"] * 2][:6]
    assert all(body["size"] > 5000 for body in target.bodies)


@pytest.mark.parametrize(
    ("kind", "model"), [("chat", "acme/c"), ("embeddings", "acme/e2"), ("audio", "acme/s")]
)
def test_the_model_is_listed_by_the_server(target: Any, kind: str, model: str) -> None:
    target.models = [
        {"id": "acme/e", "task": "embedding", "state": "starting"},
        {"id": "acme/c", "task": "chat", "state": "ready"},
        {"id": "acme/e2", "task": "embedding", "state": "ready"},
        {"id": "acme/s", "task": "speech", "state": "scaled_to_zero"},
    ]
    done = bench(kind, "--n-requests", "2", "--json", BASE_URL=target.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == model


def test_errors_exit_with_status_1(target: Any) -> None:
    target.mode = "busy"
    done = bench("chat", "--model", "m", "--base-url", target.url, "--n-requests", "4")
    assert done.returncode == 1
    assert "HTTP 429 queue_full" in done.stdout
    assert "0 good of 4" in done.stdout


def test_at_most_one_client_per_request(target: Any) -> None:
    done = bench("embeddings", "--model", "m", "--base-url", target.url, "--n-requests", "4")
    assert done.returncode == 0, done.stderr
    assert "4 clients, one for each request (--concurrency 8)" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "--base-url", "http://127.0.0.1:9"],
        ["chat", "--model", "m", "--n-requests", "0"],
        ["chat", "--model", "m", "--concurrency", "5000"],
        ["chat", "--model", "m", "--base-url", "localhost:8000"],
        ["embeddings", "--model", "m", "--encoding", "int8"],
        ["audio", "--model", "m", "--file", "no-such-file.wav"],
        ["compare", "--a", "http://127.0.0.1:9"],
        ["compare", "--a", "one", "--b", "two"],
        ["compare", "--reference", "magic"],
        ["compare", "--dtype", "float17"],
        ["compare", "--device", "tpu"],
        ["compare", "--task", "rerank"],
    ],
)
def test_usage_errors_exit_with_status_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
