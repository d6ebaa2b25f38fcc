"""Runs in the environment of `make env-vllm`; without vLLM nothing is collected."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]
