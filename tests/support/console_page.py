"""A page of the console in a browser, and the fleet that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from safetensors.numpy import save_file

from support.local_fleet import CHAT
from support.required import did_not_run
from support.tiny_bert import bert_config, bert_tensors, write_tokenizer
from support.waiting import until

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "console" / "screenshots"
AXE = ROOT / "build" / "console" / "node_modules" / "axe-core" / "axe.min.js"
SPEECH = "Systran/faster-whisper-tiny.en"
RERANK = "console/ranker"
STOPPED = "console/stopped"
ASLEEP = "console/asleep"
"""Starts at its first request."""
PRICE = {"currency": "EUR", "input": 900, "hour": 0.5}
KEYS: dict[str, dict[str, Any]] = {
    "monitor": {"metrics": True, "manage": True},
    "narrow": {"models": [CHAT], "limits": {"requestsPerMinute": 1000}},
}
NARROW, WIDE = 390, 1440
HEIGHTS = {NARROW: 844, WIDE: 900}


def key_of(name: str) -> str:
    """The API key with this name."""
    return f"{name}-key-0123456789"


def manifests(ranker: Path) -> str:
    """A ranker in a folder, the same that starts at its first request, and a stopped model."""
    files = {"task": "rerank", "source": f"file://{ranker}"}
    specs: list[dict[str, Any]] = [
        {"model": RERANK, "aliases": ["ranker"], **files, "price": PRICE},
        {"model": ASLEEP, **files, "replicas": 0, "scaleToZeroAfter": 3600},
        {"model": STOPPED, "task": "chat", "stopped": True},
    ]
    text: str = yaml.safe_dump_all(
        {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "InferenceModel",
         "metadata": {"name": spec["model"].partition("/")[2]}, "spec": spec}
        for spec in specs
    )  # fmt: skip
    return text


def write_ranker(folder: Path) -> None:
    """A tiny cross-encoder with random weights."""
    folder.mkdir()
    save_file(bert_tensors("bert.", head=True), folder / "model.safetensors")
    config = bert_config(architectures=["BertForSequenceClassification"], num_labels=1)
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)


class Console:
    """A page of the console; everything the browser complains about is in `complaints`."""

    def __init__(self, page: Any, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def _on_console(self, message: Any) -> None:
        # The browser itself reports each response with an error status.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, place: str = "", key: str = "monitor") -> Any:
        """Open a place as the owner of a key; returns the page."""
        self.page.goto(f"{self.base_url}/#/{place}")
        if key:
            self.page.get_by_label("Key", exact=True).fill(key_of(key))
            self.page.get_by_role("button", name="Continue").click()
            self.page.get_by_text(f"Key {key}").wait_for()
        return self.page

    def until(self, expression: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression is true; Playwright's own waiting would use `eval` in
        the page, which its policy forbids."""
        until(lambda: bool(self.page.evaluate(expression)), seconds)

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, and its own best practices."""
        if not AXE.is_file():
            did_not_run("needs axe-core; run `make test-console`")
        self.page.evaluate(AXE.read_text() + "; undefined")
        found = self.page.evaluate("axe.run(document)")
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def screenshot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def is_too_wide(self) -> bool:
        """Whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))
