"""Where and in which number format CTranslate2 computes: pure decisions, used by the engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fleet_contract.spec import Dtype
from fleet_server.load_error import LoadError

PREFERRED: dict[tuple[str, Dtype], tuple[str, ...]] = {
    ("cpu", Dtype.AUTO): ("int8", "float32"),
    ("cpu", Dtype.INT8): ("int8", "int8_float32"),
    ("cuda", Dtype.AUTO): ("float16", "bfloat16", "int8_float16", "float32"),
    ("cuda", Dtype.INT8): ("int8_float16", "int8_bfloat16", "int8"),
}
"""CTranslate2's compute types, best first; other dtypes are taken by their name. int8 on a CPU
takes about half the processor time of float32 at the same word error rate."""

SMALL_MODEL = 500_000_000
"""Bytes of model.bin up to which a second thread makes a decoder step no faster: Whisper small in
float16, or any smaller model."""
THREADS_PER_LANE = 4
MAX_LANES = 4
"""Of models that are not small; a step of a small model loses more to the barriers of a second
thread than it gains, so each of its lanes has one thread until there are many cores."""
MAX_SMALL_LANES = 8
CPU_BATCH = 2
CUDA_BATCH = 16
"""Windows of 30 seconds in a pass."""
CPU_SHORT_BATCH = 4
"""Windows of up to 15 seconds in a pass: less work than 2 of 30 seconds."""


@dataclass(frozen=True, slots=True)
class Placement:
    """`lanes` passes run at the same time with `threads` each, at most `batch` windows in a pass.

    `short_batch` is the most short windows in a pass, None where windows are padded to 30 seconds.
    """

    device: str
    index: int
    compute_type: str
    lanes: int
    threads: int
    batch: int
    short_batch: int | None = None


def place(
    device: str,
    threads: int,
    compute_type: str,
    weights: int,
    max_batch: int | None,
    passes: int | None = None,
) -> Placement:
    """How to use `threads` (CPU only) on `device` (`cpu`, `cuda` or `cuda:N`) for a model.bin of
    `weights` bytes; `passes` fixes how many passes run at the same time.

    The batch is small on a CPU, where it bounds how long a new request waits for the pass before
    it, and windows are short there because the encoder's time matters; on a GPU it does not.
    """
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return Placement(
            "cuda",
            int(number or 0),
            compute_type,
            passes or 1,
            max(1, threads),
            max_batch or CUDA_BATCH,
        )
    if weights <= SMALL_MODEL:
        most = passes or min(MAX_SMALL_LANES, threads)
    else:
        most = passes or min(MAX_LANES, threads // THREADS_PER_LANE)
    lanes = max(1, min(most, threads))
    each = max(1, threads // lanes)
    return Placement(
        "cpu", 0, compute_type, lanes, each, max_batch or CPU_BATCH, max_batch or CPU_SHORT_BATCH
    )


def compute_type(device: str, dtype: Dtype, supported: Collection[str]) -> str:
    """CTranslate2's name for `dtype` on `device`.

    `supported` is what this device offers. Raises LoadError that lists it.
    """
    kind = device.partition(":")[0]
    wanted = PREFERRED.get((kind, dtype), (dtype.value,))
    for name in wanted:
        if name in supported:
            return name
    raise LoadError(
        f"CTranslate2 does not compute in {dtype.value} on this {kind}.",
        f"Leave dtype at auto, or choose from: {', '.join(sorted(supported))}.",
    )
