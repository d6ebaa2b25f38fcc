"""Models of a configuration of llama-swap that llama.cpp's server serves from a GGUF file.

Format: `models: {<name>: {cmd, aliases, ttl, macros}}`, `macros` with `${name}` in commands
(github.com/mostlygeek/llama-swap, config.example.yaml); options of llama-server as in
github.com/ggml-org/llama.cpp, tools/server/README.md.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_cli.adopt.found import Found, Report
from fleet_contract.yaml_text import load_all

VALUES = {
    "-m": "model", "--model": "model", "-c": "context", "--ctx-size": "context",
    "-mm": "mmproj", "--mmproj": "mmproj", "-hf": "hf", "--hf-repo": "hf", "-hfr": "hf",
}  # fmt: skip
SWITCHES = {
    "--embedding": "embedding", "--embeddings": "embedding",
    "--rerank": "rerank", "--reranking": "rerank",
}  # fmt: skip
LINE_CONTINUATION = re.compile(r"\\[ \t]*\r?\n")
EXPANSIONS = 10
MAX_COMMAND = 1 << 16
"""Characters of a command with its macros, which may name others twice each."""


def read(path: Path) -> Report:
    """The models of the file. Raises ValueError and OSError if it cannot be read."""
    documents = load_all(path.read_text(encoding="utf-8"), str(path))
    document = documents[0] if len(documents) == 1 else None
    models = document.get("models") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not isinstance(models, Mapping):
        raise ValueError(f"{path}: it has no mapping `models`")
    report = Report()
    for name, entry in models.items():
        try:
            report.found.append(_found(str(name), entry, document.get("macros")))
        # RuntimeError: a home folder of an unknown user.
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError) as error:
            report.left_out.append(f"{name}: {error}")
    return report


def _found(name: str, entry: Any, macros: Any) -> Found:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("cmd"), str):
        raise ValueError("it has no `cmd`")
    own = entry.get("macros")
    both = {**(macros if isinstance(macros, Mapping) else {}),
            **(own if isinstance(own, Mapping) else {}), "MODEL_ID": name}  # fmt: skip
    command = LINE_CONTINUATION.sub(" ", _expanded(entry["cmd"], both))
    words = shlex.split(command, comments=True)
    if not words or not Path(words[0]).name.startswith("llama-server"):
        raise ValueError("its command is not llama-server")
    options = _options(words[1:])
    task = next((each for each in ("embedding", "rerank") if each in options), "chat")
    spec: dict[str, Any] = {"model": name, "task": task, "engine": "llamacpp"}
    if isinstance(entry.get("aliases"), list):
        spec["aliases"] = [str(alias) for alias in entry["aliases"]]
    if context := int(options.get("context", 0)):
        spec["contextLength"] = context
    if isinstance(ttl := entry.get("ttl"), int) and ttl > 0:
        spec["scaleToZeroAfter"] = ttl
    if "mmproj" in options:
        links = {
            "model.gguf": _file(options["model"]),
            "mmproj-model.gguf": _file(options["mmproj"]),
        }
        return Found({**spec, "vision": True}, links)
    if "model" in options:
        return Found({**spec, "source": _file(options["model"]).as_uri()})
    raise ValueError("it names no file of weights (-m); add it with `source: hf://...`")


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"{text} does not exist")
    return path.resolve()


def _options(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in VALUES:
            found[VALUES[name]] = (
                value if equals else (words[at + 1] if at + 1 < len(words) else "")
            )
        elif word in SWITCHES:
            found[SWITCHES[word]] = ""
    return found


def _expanded(text: str, macros: Mapping[str, Any]) -> str:
    """`text` with `${name}` replaced, also within macros; unknown ones stay."""
    for _ in range(EXPANSIONS):
        before = text
        for name, value in macros.items():
            place, replacement = f"${{{name}}}", str(value)
            if len(text) + text.count(place) * len(replacement) > MAX_COMMAND:
                raise ValueError("its command is too long")
            text = text.replace(place, replacement)
        if text == before:
            return text
    raise ValueError("its macros contain themselves")
