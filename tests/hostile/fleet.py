"""The suite's fleet: three models, keys, a usage log, and models that lead elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from hostile.remote import Remote
from hostile.target import CHAT, EMBEDDING, Target
from support.local_fleet import READY, START_SECONDS, Fleet, running_fleet
from support.ports import free_port

SPEECH = "Systran/faster-whisper-tiny.en"
STOPPED = "hostile/stopped"
"""A model without a server, whose fallback is the chat model."""
REMOTE = "hostile/remote"
"""A speech model of another provider."""
LOOP = "hostile/loop"
"""A model whose remote address is the router's own."""
KEYS = {name: f"{name}-key-0123456789" for name in ("caller", "attacker", "leaver", "narrow")}
PROVIDER_KEY = "provider-key-0123456789"
SECOND_SOURCE = "127.0.0.2"


def keys_file(names: list[str]) -> str:
    """The keys with these names."""
    entries: list[dict[str, object]] = [
        {"name": name, "sha256": hashlib.sha256(KEYS[name].encode()).hexdigest()} for name in names
    ]
    for entry in entries:
        if entry["name"] == "leaver":
            entry["limits"] = {"tokensPerMinute": 100}
        if entry["name"] == "narrow":
            entry["models"] = [STOPPED]
    return yaml.safe_dump({"keys": entries})


def manifests(port: int, remote: str) -> str:
    """The models that lead elsewhere."""
    specs: list[dict[str, object]] = [
        {"model": STOPPED, "task": "chat", "replicas": 0, "fallback": CHAT},
        {"model": REMOTE, "task": "speech", "engine": "remote",
         "remote": {"address": remote, "apiKeyEnv": "PROVIDER_KEY"}},
        {"model": LOOP, "task": "chat", "engine": "remote",
         "remote": {"address": f"http://127.0.0.1:{port}", "apiKeyEnv": "LOOP_KEY"}},
    ]  # fmt: skip
    return yaml.safe_dump_all([
        {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "InferenceModel",
         "metadata": {"name": str(spec["model"]).partition("/")[2]}, "spec": spec}
        for spec in specs
    ])  # fmt: skip


def remote_keys(port: int, remote: str) -> str:
    """Rules for the keys of these models."""
    return json.dumps([
        {"name": "PROVIDER_KEY", "addresses": [remote]},
        {"name": "LOOP_KEY", "addresses": [f"http://127.0.0.1:{port}"]},
    ])  # fmt: skip


@contextmanager
def hostile_fleet(models: Path, folder: Path) -> Iterator[tuple[Target, Fleet]]:
    """The fleet, ready, with its processes in the target's extras by name."""
    port = free_port()
    keys, usage = folder / "keys.yaml", folder / "usage.jsonl"
    keys.write_text(keys_file(list(KEYS)))
    with Remote() as remote:
        (folder / "elsewhere.yaml").write_text(manifests(port, remote.url))
        with running_fleet(
            models, folder, "-f", "elsewhere.yaml", "--models", ",".join((CHAT, EMBEDDING, SPEECH)),
            port=port, KEYS_FILE=str(keys), USAGE_LOG=str(usage), LOG_FORMAT="text",
            READ_TIMEOUT="2", REMOTE_KEYS=remote_keys(port, remote.url), PROVIDER_KEY=PROVIDER_KEY,
            LOOP_KEY=KEYS["attacker"], AUTO_DOWNLOAD_MODELS="0", MAX_NEW_TOKENS="64",
        ) as fleet:  # fmt: skip
            fleet.wait_for(READY, START_SECONDS)
            extras = {
                "router": fleet.router(), "chat": fleet.server(CHAT),
                "embedding": fleet.server(EMBEDDING), "speech": fleet.server(SPEECH),
                "leaver_key": KEYS["leaver"], "narrow_key": KEYS["narrow"],
                "keys_file": keys, "usage_log": usage, "remote": remote,
            }  # fmt: skip
            yield (
                Target(
                    fleet.base_url, KEYS["caller"], KEYS["attacker"], SPEECH, SECOND_SOURCE, extras
                ),
                fleet,
            )


def target_of_environment() -> Target | None:
    """The fleet at HOSTILE_URL, with the keys HOSTILE_CALLER_KEY and HOSTILE_ATTACKER_KEY."""
    url = os.environ.get("HOSTILE_URL")
    if not url:
        return None
    names = ("HOSTILE_CALLER_KEY", "HOSTILE_ATTACKER_KEY")
    caller, attacker = (os.environ.get(name, "") for name in names)
    return Target(url, caller, attacker, os.environ.get("HOSTILE_SPEECH", "openai/whisper-base"))
