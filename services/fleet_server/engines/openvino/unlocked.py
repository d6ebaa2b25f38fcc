"""Steps a continuous-batching pipeline without holding Python's interpreter lock.

GenAI's Python binding holds the lock during `step()`, about 10 ms, and so blocks the event loop: a
request needs several iterations of the loop, and each would wait for a step. ctypes releases the
lock during a call, so the same C++ method is called through it, with the address of the C++ object
inside the Python object (pybind11's `instance` stores it after the object header).

A C++ exception in such a call ends the process, which is then restarted, as after any failed step.
Requests that could make a step fail are refused before.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino_genai

logger = logging.getLogger(__name__)

CHECKED = ("2026.4.",)
"""Prefixes of the GenAI versions verified to work; other versions use the binding's `step`."""
LIBRARIES = "libopenvino_genai*"
MANGLED = "_ZN2ov5genai26ContinuousBatchingPipeline"
STEP = f"{MANGLED}4stepEv"
HAS_UNFINISHED = f"{MANGLED}25has_non_finished_requestsEv"
WORD = ctypes.sizeof(ctypes.c_void_p)
INSTANCE_BYTES = object.__basicsize__ + 5 * WORD
"""A pybind11 instance: object header, address, two words of holder, weak references, flags."""


def step_of(pipeline: Any) -> Callable[[], None]:
    """The function that runs a step of an idle `pipeline` (ContinuousBatchingPipeline).

    It is `pipeline.step` if the installed version of GenAI was not verified.
    """
    plain: Callable[[], None] = pipeline.step
    if not is_checked(openvino_genai.__version__, type(pipeline)):
        return _refused(plain, "this version of OpenVINO GenAI was not verified")
    try:
        native = library()
        step, unfinished = getattr(native, STEP), getattr(native, HAS_UNFINISHED)
    except (OSError, ValueError, AttributeError) as error:
        return _refused(plain, str(error))
    step.argtypes, step.restype = [ctypes.c_void_p], None
    unfinished.argtypes, unfinished.restype = [ctypes.c_void_p], ctypes.c_bool
    address = ctypes.c_void_p.from_address(id(pipeline) + object.__basicsize__)
    if unfinished(address) != pipeline.has_non_finished_requests():
        return _refused(plain, "the pipeline is not at the expected address")

    return Unlocked(pipeline, address, step)


def library() -> ctypes.CDLL:
    """GenAI's C++ library. Raises OSError or ValueError if it is not found."""
    return ctypes.CDLL(str(min(Path(openvino_genai.__file__).parent.glob(LIBRARIES))))


class Unlocked:
    """Calls `step` on the C++ object; the reference to `pipeline` keeps the object alive."""

    def __init__(self, pipeline: Any, address: ctypes.c_void_p, step: Any) -> None:
        self._pipeline = pipeline
        self._address = address
        self._step = step

    def __call__(self) -> None:
        self._step(self._address)


def is_checked(version: str, kind: type) -> bool:
    """Whether pipelines of this class and version have the expected memory layout."""
    return version.startswith(CHECKED) and kind.__basicsize__ == INSTANCE_BYTES


def _refused(plain: Callable[[], None], reason: str) -> Callable[[], None]:
    logger.warning("steps hold the interpreter lock, which slows down responses: %s", reason)
    return plain
