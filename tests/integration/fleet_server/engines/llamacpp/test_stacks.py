"""Texts and grammars for which llama.cpp's recursion is deep, in a process that it would end."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support import tiny_chat, tiny_gguf

FORCED = "\n".join([
    "start: /[bc]/ a1 a1", *(f"a{n}: a{n + 1} a{n + 1} a{n + 1} a{n + 1}" for n in range(1, 9)),
    'a9: "a"',
])  # fmt: skip
CHAIN = {
    "$ref": "#/$defs/d0",
    "$defs": {"d660": {"type": "string"}} | {
        f"d{n}": {"properties": {"x": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(660)
    },
}  # fmt: skip
PROGRAM = """
import json, queue, sys
from pathlib import Path
from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.protocols import FormatKind, OutputFormat, Sampling

path, text, number, kind, source = json.load(sys.stdin)
spec = ModelSpec.model_validate({"model": "m", "contextLength": 2048, "cache": {"kvGib": 0.1}})
model = LlamaChat(spec, Path(path), 1)
ids = model.vocabulary.encode(text * number, add_special=False)
assert model.decode(ids) == text * number
grammar = model.compile(OutputFormat(source, "p", FormatKind(kind))) if source else None
prompt = model.prompt([{"role": "user", "content": "a"}], [])

def error(grammar):
    steps = queue.SimpleQueue()
    model.submit(prompt, Sampling(4, temperature=0, grammar=grammar), steps.put)
    while True:
        step = steps.get(timeout=180)
        if step.finish is not None or step.error is not None:
            return step.error

# llama.cpp drops a grammar that exceeds its limits.
assert getattr(error(grammar), "code", None) in (None, "schema_too_expensive")
assert error(None) is None
model.close()
print("served")
"""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the vocabulary rules of gpt-oss."""
    return tiny_gguf.write(
        tmp_path_factory.mktemp("tiny") / "m.gguf", tiny_chat.QWEN3, pre="gpt-4o"
    )


def small_stacks() -> None:
    """The threads of the process have 2 MiB, as with `ulimit -s unlimited`."""
    resource.setrlimit(resource.RLIMIT_STACK, (2 << 20, 2 << 20))


@pytest.mark.parametrize(("text", "number", "kind", "source"), [
    ("a", 100_000, "", ""), ("a", 1, "grammar", FORCED),
    ("a", 1, "json_schema", json.dumps(CHAIN)),
], ids=["a long word", "a long forced text", "a chain of references"])  # fmt: skip
def test_a_caller_cannot_end_the_process(
    gguf: Path, text: str, number: int, kind: str, source: str
) -> None:
    given = json.dumps([str(gguf), text, number, kind, source])
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=given, capture_output=True, text=True, timeout=300,
        preexec_fn=small_stacks if kind == "json_schema" else None,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "served\n"), ended.stderr
