"""Steps a continuous-batching pipeline without Python's interpreter lock; used by OpenVinoChat.

GenAI's Python binding keeps the lock for the whole of `step()`, about 10 ms, and with it the event
loop: a request needs several turns of the loop to be read, tokenised, answered and written, and
each would wait for a step. ctypes gives the lock back while it calls a C function, so the same C++
method is called through it, on the object inside the Python one (pybind11's `instance`: behind the
object's head comes the address of the C++ object).

A C++ exception in such a call cannot become a Python one: the process ends and whoever supervises
it starts another, which is what a failed step leads to anyway. Nothing a client sends may make a
step fail; it is refused before.
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
"""Beginnings of GenAI versions whose library was seen to work so; others step the usual way."""
LIBRARIES = "libopenvino_genai*"
MANGLED = "_ZN2ov5genai26ContinuousBatchingPipeline"
STEP = f"{MANGLED}4stepEv"
HAS_UNFINISHED = f"{MANGLED}25has_non_finished_requestsEv"
WORD = ctypes.sizeof(ctypes.c_void_p)
INSTANCE_BYTES = object.__basicsize__ + 5 * WORD
"""A pybind11 instance: head, address, two words of holder, weak references, flags."""


def step_of(pipeline: Any) -> Callable[[], None]:
    """What to call for a step of an idle `pipeline` (ContinuousBatchingPipeline).

    Its own `step` where the installed GenAI is not one of those checked.
    """
    plain: Callable[[], None] = pipeline.step
    if not is_checked(openvino_genai.__version__, type(pipeline)):
        return _refused(plain, "this version of OpenVINO GenAI was not checked")
    try:
        path = min(Path(openvino_genai.__file__).parent.glob(LIBRARIES))
        library = ctypes.CDLL(str(path))
        step, unfinished = getattr(library, STEP), getattr(library, HAS_UNFINISHED)
    except (OSError, ValueError, AttributeError) as error:
        return _refused(plain, str(error))
    step.argtypes, step.restype = [ctypes.c_void_p], None
    unfinished.argtypes, unfinished.restype = [ctypes.c_void_p], ctypes.c_bool
    address = ctypes.c_void_p.from_address(id(pipeline) + object.__basicsize__)
    if unfinished(address) != pipeline.has_non_finished_requests():
        return _refused(plain, "the pipeline was not found where it should be")

    return Unlocked(pipeline, address, step)


class Unlocked:
    """Calls `step` on the C++ object, which lives as long as `pipeline` does."""

    def __init__(self, pipeline: Any, address: ctypes.c_void_p, step: Any) -> None:
        self._pipeline = pipeline
        self._address = address
        self._step = step

    def __call__(self) -> None:
        self._step(self._address)


def is_checked(version: str, kind: type) -> bool:
    """Whether pipelines of this class in this version are laid out as expected."""
    return version.startswith(CHECKED) and kind.__basicsize__ == INSTANCE_BYTES


def _refused(plain: Callable[[], None], reason: str) -> Callable[[], None]:
    logger.warning("steps hold the interpreter lock, so answers are slower: %s", reason)
    return plain
