"""The pages of docs/integrations: their code and their commands run against the fleet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

PAGES = Path(__file__).parents[2] / "docs" / "integrations"
ADDRESS = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE_COMMANDS = ("claude ",)
SECONDS = 300
STOPS = [
    "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>", "/src/", "#- coding: utf-8",
    "```", "\ndef", "\nclass", '\n"""#',
]  # fmt: skip
"""What Continue sends when it completes Python with Qwen2.5-Coder."""
SHORT = {"output_format": {"type": "json_schema", "schema": {"enum": ["red", "blue"]}}}
"""Enforces a short answer of Claude Code's model, which otherwise may not end."""
Client = Callable[..., str]


def blocks(name: str, language: str, base_url: str) -> str:
    """All blocks of a language as one text, with the address of the fleet."""
    text = (PAGES / name).read_text(encoding="utf-8")
    found = [code for kind, code in BLOCK.findall(text) if kind == language]
    return "\n".join(found).replace(ADDRESS, base_url)


def with_blocks(language: str) -> list[str]:
    return [
        page.name for page in sorted(PAGES.glob("*.md")) if f"```{language}\n" in page.read_text()
    ]


@pytest.mark.parametrize("name", with_blocks("python"))
def test_python(name: str, client: Client, base_url: str) -> None:
    client(name, ["python", "-"], blocks(name, "python", base_url))


@pytest.mark.parametrize("name", with_blocks("js"))
def test_node(name: str, client: Client, base_url: str, node_folder: Path) -> None:
    script = node_folder / f"{name}.mjs"
    script.write_text(blocks(name, "js", base_url), encoding="utf-8")
    client(name, ["node", str(script)], folder=node_folder)


@pytest.mark.parametrize("name", with_blocks("bash"))
def test_commands(name: str, client: Client, base_url: str, request: pytest.FixtureRequest) -> None:
    code = blocks(name, "bash", base_url)
    if any(command in code for command in NODE_COMMANDS):
        request.getfixturevalue("node_folder")
    client(name, ["bash", "-eu"], code, CLAUDE_CODE_EXTRA_BODY=json.dumps(SHORT))


def test_codex(client: Client, base_url: str, node_folder: Path) -> None:
    """With the settings of its page, whatever the model writes: only its length ends a turn."""
    ask = "codex exec --skip-git-repo-check --json 'Name a colour.' </dev/null 2>errors.txt || true"
    output = client("codex", ["bash", "-eu"], blocks("codex.md", "bash", base_url) + ask)
    events = [json.loads(line) for line in output.splitlines()]
    assert {event["type"] for event in events} & {"turn.completed", "turn.failed"}, output
    failures = [event for event in events if event["type"] in ("error", "turn.failed")]
    assert all("max_output_tokens" in json.dumps(each) for each in failures), output


def test_every_page_is_executed() -> None:
    found = {name for language in ("python", "js", "bash") for name in with_blocks(language)}
    assert found | {"continue.md"} == {page.name for page in PAGES.glob("*.md")}


def test_continue(base_url: str) -> None:
    """The requests that Continue derives from its configuration."""
    config = yaml.safe_load(blocks("continue.md", "yaml", base_url))
    roles: set[str] = set()
    for model in config["models"]:
        headers = {"authorization": f"Bearer {model['apiKey']}"}
        with httpx.Client(base_url=model["apiBase"], headers=headers, timeout=SECONDS) as http:
            for role in model["roles"]:
                REQUESTS[role](http, model)
        roles |= set(model["roles"])
    assert roles == REQUESTS.keys()


def chat(http: httpx.Client, model: dict[str, Any]) -> None:
    options = model["defaultCompletionOptions"]
    answer = http.post("/chat/completions", json={
        "model": model["model"], "max_tokens": min(16, options["maxTokens"]),
        "stream": True, "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Name a colour."}],
        "tools": [{"type": "function", "function": {
            "name": "read_file", "description": "Read a file.",
            "parameters": {"type": "object", "properties": {
                "filepath": {"type": "string"}}, "required": ["filepath"]}}}],
    })  # fmt: skip
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text


def autocomplete(http: httpx.Client, model: dict[str, Any]) -> None:
    """Continue writes the marks of the model's family into the prompt itself."""
    answer = http.post("/completions", json={
        "model": model["model"], "max_tokens": 16, "temperature": 0.01, "stream": True,
        "stop": STOPS,
        "prompt": "<|fim_prefix|>def add(a, b):\n    <|fim_suffix|>\n<|fim_middle|>",
    })  # fmt: skip
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text


def embed(http: httpx.Client, model: dict[str, Any]) -> None:
    answer = http.post("/embeddings", json={"model": model["model"], "input": ["a", "b"]})
    assert len(answer.json()["data"]) == 2


REQUESTS = {"chat": chat, "edit": chat, "apply": chat, "autocomplete": autocomplete, "embed": embed}
