"""Modules that are not loaded by an import or a call, each in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import tiny_chat


def test_whisper_support_check_imports_no_library() -> None:
    code = (
        "import sys; from fleet_prepare import whisper; whisper.supports([], {}); "
        "print({'numpy', 'ctranslate2', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_chat_conversion_imports_neither_torch_nor_telemetry(tmp_path: Path) -> None:
    tiny_chat.write(tmp_path / "source", tiny_chat.LLAMA)
    (tmp_path / "target").mkdir()
    code = f"""
import sys
from pathlib import Path
from fleet_prepare import chat
from fleet_prepare.conversion import Conversion
assert "openvino" not in sys.modules
home = Path({str(tmp_path)!r})
chat.convert(Conversion(home / "source", home / "target", "int4", print, lambda: None, {{}}))
loaded = {{name for name, module in sys.modules.items() if module is not None}}
assert not loaded & {{"torch", "transformers", "openvino_telemetry", "openvino_tokenizers"}}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_image_loader_imports_without_pillow() -> None:
    code = "import sys; sys.modules['PIL'] = None; from fleet_server.images import ImageLoader"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)


VARIABLE = "ORT_DISABLE_TELEMETRY"


def test_onnx_runtime_logging_is_disabled_before_it_is_loaded() -> None:
    environ = {name: text for name, text in os.environ.items() if name != VARIABLE}
    code = (
        "import os, sys, fleet_server.engines; "
        f"assert os.environ['{VARIABLE}'] == '1'; "
        "assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=180)


def test_threads_of_llamacpp_do_not_spin() -> None:
    environ = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys, fleet_server.engines.llamacpp; print(os.environ['OMP_WAIT_POLICY']); "
        "assert 'xllamacpp' not in sys.modules"
    )
    for given, expected in ({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ | given, capture_output=True, text=True,
            check=True, timeout=180,
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_openvino_telemetry_is_never_imported() -> None:
    code = (
        "import sys, fleet_server.engines.openvino.encoder as encoder; encoder.EmbeddingEngine; "
        "assert 'openvino' in sys.modules; "
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]; "
        "assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fetch_imports_no_http_client() -> None:
    """If the weights exist, a server starts without it: importing it takes 0.1 s."""
    program = "import sys, fleet_weights.fetch; print('httpx' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "False"
