"""A process with one server for each task: the real apps with the small models of the unit tests.

`fake_servers.py FOLDER` prints the ports as JSON and ends when stdin is closed. With the folder of
the real MiniLM as second argument, it serves only that.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from safetensors.numpy import save_file

from fleet_contract.api.languages import NAMES
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.openvino.encoder import EmbeddingEngine, RerankEngine
from fleet_server.protocols import NO_ARGUMENTS, Prompt, TemplateArguments
from fleet_server.state import ServerState
from fleet_web import logs, serve
from support.counting_speech import CountingModel
from support.scripted_chat import ScriptedChat
from support.tiny_bert import bert_config, bert_tensors, write_tokenizer

SUPPORTS = ScriptedChat.supports | {"tools"}
TEMPLATE = "{{ tools }}{{ enable_thinking }}<tool_call></tool_call></think>"
READ_SECONDS = 1.0
"""Timeout of requests without progress, which are frequent in fuzzing."""


class TemplatedChat(ScriptedChat):
    """With the text and the tokens of a conversation, one for each of its bytes."""

    def prompt(
        self,
        messages: Sequence[dict[str, Any]],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        made = super().prompt(messages, images, arguments)
        return replace(made, token_ids=list(self.render(messages, arguments).encode()))

    def render(self, messages: Sequence[dict[str, Any]], arguments: TemplateArguments) -> str:
        return json.dumps([list(messages), list(arguments.tools)])


def encoder(folder: Path, *, head: bool) -> Path:
    """Write a tiny BERT to disk."""
    folder.mkdir()
    save_file(bert_tensors("bert." if head else "", head=head), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(bert_config()))
    write_tokenizer(folder)
    return folder


def bounded(model: Any) -> Any:
    """Bound the records of a fake model, since its memory would grow with every request."""
    for name in ("asked", "read", "running", "prompts"):
        if hasattr(model, name):
            setattr(model, name, deque(maxlen=16))
    return model


def states(folder: Path, minilm: Path | None) -> list[ServerState]:
    """A ready server of each task."""
    made = []
    for task in ("chat", "embedding", "rerank", "speech") if minilm is None else ("embedding",):
        fields = {"model": task, "task": task, "dtype": "float32", "env": {}}
        limits = {"maxAudioBytes": 1_000_000, "maxBodyBytes": 2_000_000, "maxAudioSeconds": 60}
        spec = ModelSpec.model_validate(fields | {"limits": limits})
        model: Any
        if task == "chat":
            model = bounded(TemplatedChat(supports=SUPPORTS, chat_template=TEMPLATE))
        elif task == "embedding":
            model = EmbeddingEngine(spec, minilm or encoder(folder / task, head=False), 1)
        elif task == "rerank":
            model = RerankEngine(spec, encoder(folder / task, head=True), 1)
        else:
            model = bounded(CountingModel(tuple(NAMES)))
        state = ServerState(spec, 2)
        state.set_ready(model)
        made.append(state)
    return made


async def main(folder: Path, minilm: Path | None = None) -> None:
    """Serve until stdin ends."""
    logs.configure("fake-servers", "WARNING", "json")
    serving = states(folder, minilm)
    servers = [
        serve.build(create_app(state), "127.0.0.1", 0, drain_timeout=1, read_timeout=READ_SECONDS)
        for state in serving
    ]
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    while not all(server.started for server in servers):  # noqa: ASYNC110  (uvicorn has no event)
        await asyncio.sleep(0.01)
    entries = {
        state.spec.model: [state.spec.to_wire(), port_of(server)]
        for state, server in zip(serving, servers, strict=True)
    }
    print(json.dumps(entries), flush=True)
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.read()
        for server in servers:
            loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    threading.Thread(target=wait_for_end, daemon=True).start()
    await asyncio.gather(*tasks)


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
