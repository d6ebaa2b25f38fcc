"""Ends processes that an engine's library starts when the server is killed.

vLLM runs a model in a child process, which a server that ends normally stops. After SIGKILL nobody
would, and the child would keep its memory. vLLM calls `follow_parent` in each of its processes
before it loads a model: the entry point `modelfleet` of the group `vllm.general_plugins`. It is not
in the package of the engine, which sets environment variables that other programs with vLLM in the
same environment must not get.
"""

from __future__ import annotations

import multiprocessing
import os
import threading


def follow_parent() -> None:
    """End this process as soon as the one that started it with `multiprocessing` has ended.

    Without effect in a process that was started otherwise.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()  # reads a pipe that the kernel closes
        os._exit(1)

    threading.Thread(target=wait, name="parent-death", daemon=True).start()
