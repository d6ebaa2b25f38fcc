"""Runs in the environment of `make env-vllm`; without vLLM nothing is collected."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    # vLLM leaves sockets of ZeroMQ to the garbage collector, also at the end of the run.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
