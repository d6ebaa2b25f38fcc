"""The command of the chart's `helm test`, run against the running fleet."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "charts" / "modelfleet" / "files" / "conversation.py"
CHAT, SPEECH = "HuggingFaceTB/SmolLM2-135M-Instruct", "openai/whisper-base"


def test_models_of_the_release_are_waited_for() -> None:
    described = importlib.util.spec_from_file_location("conversation", SCRIPT)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    answers = [[], [{"id": "a"}], [{"id": "a"}, {"id": "b"}]]
    assert module.listed(iter(answers).__next__, 2) == answers[2]
    assert module.listed(iter(answers).__next__, 0) == []
    assert module.listed(lambda: answers[1], 2, seconds=0.1) == answers[1]


async def run_client(fleet: Any, **environ: str) -> tuple[int, str]:
    """Exit status and output of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        env={
            **os.environ,
            "BASE_URL": f"{fleet.base_url}/v1",
            "NO_PROXY": "127.0.0.1",
            "TIMEOUT": "300",
            **environ,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_every_task_is_used(fleet: Any) -> None:
    status, output = await run_client(fleet, REQUIRE="chat,embedding,speech")
    assert status == 0, output
    assert [line for line in output.splitlines() if line.startswith(CHAT) and "Paris" in line]
    assert "cosine of similar texts" in output
    assert "walk in the park" in output


async def test_an_unknown_model_fails(fleet: Any) -> None:
    models = json.dumps({"chat": "no/such-model"})
    status, output = await run_client(fleet, MODELS=models)
    assert status == 1
    assert "no/such-model: FAILED" in output


async def test_a_model_of_the_wrong_task_fails(fleet: Any) -> None:
    status, output = await run_client(fleet, MODELS=json.dumps({"embedding": SPEECH}))
    assert status == 1
    assert f"{SPEECH}: FAILED" in output


async def test_a_missing_router_fails(fleet: Any) -> None:
    status, output = await run_client(fleet, BASE_URL="http://127.0.0.1:9/v1", TIMEOUT="1")
    assert status == 1
    assert output.startswith("http://127.0.0.1:9/v1/: FAILED: APIConnectionError")
