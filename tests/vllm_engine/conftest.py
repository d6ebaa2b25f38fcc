"""Runs in the environment of `make env-vllm`; without vLLM nothing is collected."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]

# vLLM leaves sockets of ZeroMQ to the garbage collector.
IGNORED = "ignore::pytest.PytestUnraisableExceptionWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(IGNORED))
