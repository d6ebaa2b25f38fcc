"""Files written by `modelfleet server --prepare` for servers with read-only weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract import catalog, launch
from fleet_server.engines.openvino import chat_files

pytestmark = pytest.mark.weights

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_chat_model_is_converted_once(
    demo_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    source = demo_weights(CHAT)
    folder = tmp_path / source.name
    shutil.copytree(source, folder, ignore=lambda _, names: [n for n in names if "openvino" in n])
    assert chat_files.find(folder).suffix == ".gguf"
    spec = catalog.load()[CHAT]
    done = subprocess.run(
        [sys.executable, "-m", "fleet_server", "--prepare"],
        env={**os.environ, **launch.encode(spec), "MODELS_DIR": str(tmp_path),
             "AUTO_DOWNLOAD_MODELS": "0"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "ready"
    assert chat_files.find(folder) == folder / chat_files.IR_FOLDER
    assert not list(folder.glob(".openvino*")), "nothing half-written is left"
