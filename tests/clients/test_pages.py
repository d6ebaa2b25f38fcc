"""The pages of docs/integrations: their Python and their commands run against the fleet."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

PAGES = Path(__file__).parents[2] / "docs" / "integrations"
ADDRESS = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 300


def blocks(page: Path, language: str, base_url: str) -> str:
    """All blocks of a language as one text, with the address of the fleet."""
    text = page.read_text(encoding="utf-8")
    found = [code for kind, code in BLOCK.findall(text) if kind == language]
    return "\n".join(found).replace(ADDRESS, base_url)


def with_blocks(language: str) -> list[str]:
    return [
        page.name for page in sorted(PAGES.glob("*.md")) if f"```{language}" in page.read_text()
    ]


def run(command: list[str], code: str) -> None:
    done = subprocess.run(
        command, input=code, timeout=SECONDS, capture_output=True, text=True, check=False,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("name", with_blocks("python"))
def test_python(name: str, base_url: str, python_bin: Path) -> None:
    run([str(python_bin / "python"), "-"], blocks(PAGES / name, "python", base_url))


@pytest.mark.parametrize("name", with_blocks("bash"))
def test_commands(name: str, base_url: str) -> None:
    run(["bash", "-eu"], blocks(PAGES / name, "bash", base_url))


def test_continue(base_url: str) -> None:
    """The requests that Continue derives from its configuration."""
    config = yaml.safe_load(blocks(PAGES / "continue.md", "yaml", base_url))
    roles = set()
    for model in config["models"]:
        headers = {"authorization": f"Bearer {model['apiKey']}"}
        with httpx.Client(base_url=model["apiBase"], headers=headers, timeout=SECONDS) as client:
            if "chat" in model["roles"]:
                options = model["defaultCompletionOptions"]
                answer = client.post("/chat/completions", json={
                    "model": model["model"], "max_tokens": min(16, options["maxTokens"]),
                    "stream": True, "stream_options": {"include_usage": True},
                    "messages": [{"role": "user", "content": "Name a colour."}],
                    "tools": [{"type": "function", "function": {
                        "name": "read_file", "description": "Read a file.",
                        "parameters": {"type": "object", "properties": {
                            "filepath": {"type": "string"}}, "required": ["filepath"]}}}],
                })  # fmt: skip
                assert answer.text.endswith("data: [DONE]\n\n"), answer.text
            else:
                answer = client.post("/embeddings", json={
                    "model": model["model"], "input": ["a", "b"]})  # fmt: skip
                assert len(answer.json()["data"]) == 2
        roles |= set(model["roles"])
    assert {"chat", "embed"} <= roles
