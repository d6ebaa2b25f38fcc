"""Manifests from folders of other tools, read back by the manifests' own parser."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.adopt import command, hub, llama_swap, ollama
from fleet_contract import catalog, manifests


def gguf(architecture: str) -> bytes:
    """The head of a GGUF file with one pair of metadata (ggml-org/ggml, docs/gguf.md)."""
    key, value = b"general.architecture", architecture.encode()
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair


def add(root: Path, name: str, **layers: bytes) -> None:
    """An image of Ollama with layers by the last word of their media type."""
    entries = []
    for kind, content in layers.items():
        digest = hashlib.sha256(content).hexdigest()
        blob = root / "blobs" / f"sha256-{digest}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        media = f"application/vnd.ollama.image.{kind}"
        entries.append({"mediaType": media, "digest": f"sha256:{digest}"})
    path = root / "manifests" / "registry.ollama.ai" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"layers": entries}))


def specs(path: Path) -> dict[str, Any]:
    return {each.spec["model"]: each.spec for each in manifests.load(path)}


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(command.app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_ollama(tmp_path: Path) -> None:
    root = tmp_path / "models"
    add(root, "library/llama3.2/latest", model=gguf("llama"), template=b"x")
    add(root, "library/nomic/v1.5", model=gguf("nomic-bert"))
    add(root, "me/seeing/latest", model=gguf("qwen3vl"), projector=gguf("clip"))
    add(root, "library/tuned/latest", model=gguf("llama"), adapter=b"y")
    add(root, "library/other/latest", model=b"safetensors")
    output = tmp_path / "fleet.yaml"
    status, text, errors = run("ollama", str(root), "-o", str(output))
    assert (status, text.split()[0]) == (0, "3")
    assert "left out tuned: it has an adapter" in errors
    assert "left out other: its weights are no GGUF file" in errors
    found = specs(output)
    assert {name: spec.get("task", "chat") for name, spec in found.items()} == {
        "llama3.2": "chat", "nomic:v1.5": "embedding", "me/seeing": "chat",
    }  # fmt: skip
    seeing = tmp_path / "fleet" / "me-seeing"
    assert found["me/seeing"]["source"] == seeing.as_uri()
    assert (found["me/seeing"]["vision"], found["me/seeing"]["engine"]) == (True, "llamacpp")
    assert (seeing / "model.gguf").read_bytes() == gguf("qwen3vl")
    assert (seeing / "mmproj-model.gguf").is_symlink()
    for name, text in (
        ("empty", "{}"), ("broken", "{"), ("list", '{"layers": [1]}'), ("deep", "[" * 100_000),
    ):  # fmt: skip
        (root / "manifests/registry.ollama.ai/library" / name).mkdir()
        (root / "manifests/registry.ollama.ai/library" / name / "latest").write_text(text)
    assert len(ollama.read(root).left_out) == 6


def test_nothing_is_replaced_but_links(tmp_path: Path) -> None:
    root, output = tmp_path / "models", tmp_path / "fleet.yaml"
    add(root, "library/a/latest", model=gguf("llama"))
    assert run("ollama", str(root), "-o", str(output))[0] == 0
    link = tmp_path / "fleet" / "a" / "model.gguf"
    before = link.readlink()
    add(root, "library/a/latest", model=gguf("qwen3"))
    status, _, errors = run("ollama", str(root), "-o", str(output))
    assert (status, link.readlink()) == (2, before)
    assert "fleet.yaml" in errors
    output.unlink()
    assert run("ollama", str(root), "-o", str(output))[0] == 0
    assert link.readlink() != before
    output.unlink()
    link.unlink()
    link.write_bytes(b"weights of the user")
    assert run("ollama", str(root), "-o", str(output))[0] == 2
    assert (link.read_bytes(), output.exists()) == (b"weights of the user", False)


def test_models_whose_manifests_would_have_one_name(tmp_path: Path) -> None:
    root, output = tmp_path / "models", tmp_path / "fleet.yaml"
    add(root, "me/chat/latest", model=gguf("llama"))
    add(root, "library/me-chat/latest", model=gguf("qwen3"))
    add(root, "library/other/latest", model=gguf("llama"))
    status, _, errors = run("ollama", str(root), "-o", str(output))
    assert (status, set(specs(output))) == (0, {"me-chat", "other"})
    assert "left out me/chat: its manifest would have the name of that of me-chat" in errors
    assert (tmp_path / "fleet/me-chat/model.gguf").read_bytes() == gguf("qwen3")


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, "chat"),
        ({"architectures": ["WhisperForConditionalGeneration"]}, "speech"),
        ({"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "a"}},
         "rerank"),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}},
         None),
        ({"architectures": ["BertModel"]}, "embedding"),
        ({}, None),
    ],
)  # fmt: skip
def test_the_hub(tmp_path: Path, config: dict[str, Any], task: str | None) -> None:
    snapshot = tmp_path / "models--acme--some-model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(config))
    (tmp_path / "models--BAAI--bge-m3" / "snapshots").mkdir(parents=True)
    (tmp_path / "models--acme--gone").mkdir()
    report = hub.read(tmp_path, catalog.load())
    found = {each.spec["model"]: each.spec for each in report.found}
    assert found["BAAI/bge-m3"] == {"model": "BAAI/bge-m3"}
    assert ("acme/gone: it has no complete snapshot" in report.left_out) is True
    if task is None:
        assert "acme/some-model" not in found
    else:
        source = "hf://acme/some-model@abc"
        assert found["acme/some-model"] == {
            "model": "acme/some-model", "task": task, "source": source,
        }  # fmt: skip


def test_llama_swap(tmp_path: Path) -> None:
    for name in ("chat.gguf", "embed.gguf", "mmproj.gguf"):
        (tmp_path / name).write_bytes(gguf("llama"))
    bomb = ", ".join(f'm{at}: "${{m{at + 1}}}${{m{at + 1}}}"' for at in range(100))
    config = tmp_path / "config.yaml"
    config.write_text(f"""\
macros:
  folder: {tmp_path}
  server: /usr/bin/llama-server --port ${{PORT}}
models:
  qwen:
    cmd: |
      ${{server}} -m ${{folder}}/chat.gguf
      --ctx-size=4096 # a comment
    aliases: [gpt-4o-mini]
    ttl: 300
  continued:
    cmd: |
      ${{server}} \\
        --model ${{folder}}/chat.gguf \\{" "}
        --ctx-size 2048
  vectors: {{cmd: "${{server}} --model ${{folder}}/embed.gguf --embeddings"}}
  seeing: {{cmd: "${{server}} -m ${{folder}}/chat.gguf --mmproj ${{folder}}/mmproj.gguf"}}
  "with space": {{cmd: "${{server}} -m ${{folder}}/chat.gguf"}}
  remote: {{cmd: "${{server}} -hf ggml-org/x"}}
  gone: {{cmd: "${{server}} -m /no/such.gguf"}}
  other: {{cmd: "docker run x"}}
  loop: {{cmd: "${{a}}", macros: {{a: "${{a}} b"}}}}
  long: {{cmd: "${{m0}}", macros: {{{bomb}}}}}
  home: {{cmd: "${{server}} -m ~no-such-user/x.gguf"}}
  nothing: {{}}
""")
    output = tmp_path / "fleet.yaml"
    status, _, errors = run("llama-swap", str(config), "-o", str(output))
    assert status == 0
    assert errors.count("left out") == 8
    found = specs(output)
    assert found["qwen"] == {
        "model": "qwen", "task": "chat", "aliases": ["gpt-4o-mini"], "engine": "llamacpp",
        "contextLength": 4096, "scaleToZeroAfter": 300,
        "source": (tmp_path / "chat.gguf").as_uri(),
    }  # fmt: skip
    assert found["continued"]["contextLength"] == 2048
    assert found["continued"]["source"] == (tmp_path / "chat.gguf").as_uri()
    assert found["vectors"]["task"] == "embedding"
    assert found["seeing"]["vision"] is True
    assert (tmp_path / "fleet" / "seeing" / "mmproj-model.gguf").exists()


@pytest.mark.parametrize("text", ["", "models: 1", "[]", "models: {a: [}"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        llama_swap.read(path)
    with pytest.raises(ValueError, match="no folder of Ollama"):
        ollama.read(tmp_path)
    with pytest.raises(ValueError, match="no cache of the hub"):
        hub.read(tmp_path, {})
