"""Where and in which format CTranslate2 computes."""

from __future__ import annotations

import pytest

from fleet_contract.spec import Dtype
from fleet_server.engines.ctranslate2.device import SMALL_MODEL, compute_type, place
from fleet_server.load_error import LoadError

CPU = {"int8", "float32", "int8_float32", "int16"}
CUDA = {"float16", "bfloat16", "float32", "int8", "int8_float16", "int8_float32"}


@pytest.mark.parametrize(
    ("device", "dtype", "supported", "chosen"),
    [
        ("cpu", Dtype.AUTO, CPU, "int8"),
        ("cpu", Dtype.AUTO, {"float32"}, "float32"),
        ("cpu", Dtype.INT8, CPU, "int8"),
        ("cpu", Dtype.FLOAT32, CPU, "float32"),
        ("cuda", Dtype.AUTO, CUDA, "float16"),
        ("cuda:1", Dtype.AUTO, {"float32", "int8"}, "float32"),
        ("cuda", Dtype.INT8, CUDA, "int8_float16"),
        ("cuda", Dtype.BFLOAT16, CUDA, "bfloat16"),
    ],
)
def test_the_best_format_the_device_offers(
    device: str, dtype: Dtype, supported: set[str], chosen: str
) -> None:
    assert compute_type(device, dtype, supported) == chosen


@pytest.mark.parametrize("dtype", [Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FP8])
def test_a_format_the_device_lacks_is_refused_with_those_it_has(dtype: Dtype) -> None:
    with pytest.raises(LoadError) as caught:
        compute_type("cpu", dtype, CPU)
    assert dtype.value in caught.value.message
    assert "int8" in caught.value.hint


@pytest.mark.parametrize(
    ("threads", "lanes", "each"),
    [(1, 1, 1), (2, 1, 2), (7, 1, 7), (8, 2, 4), (16, 4, 4), (64, 4, 16), (0, 1, 1)],
)
def test_more_cores_give_a_large_model_more_lanes(threads: int, lanes: int, each: int) -> None:
    placement = place("cpu", threads, "int8", SMALL_MODEL + 1, None)
    assert (placement.lanes, placement.threads) == (lanes, each)


@pytest.mark.parametrize(
    ("threads", "lanes", "each"),
    [(1, 1, 1), (2, 2, 1), (7, 7, 1), (8, 8, 1), (16, 8, 2), (64, 8, 8), (0, 1, 1)],
)
def test_a_small_model_has_a_lane_for_each_thread(threads: int, lanes: int, each: int) -> None:
    placement = place("cpu", threads, "int8", SMALL_MODEL, None)
    assert (placement.lanes, placement.threads) == (lanes, each)


@pytest.mark.parametrize(
    ("device", "threads", "passes", "lanes", "each"),
    [
        ("cpu", 16, 1, 1, 16),
        ("cpu", 16, 2, 2, 8),
        ("cpu", 2, 8, 2, 1),
        ("cpu", 0, 3, 1, 1),
        ("cuda", 4, 3, 3, 4),
    ],
)
def test_the_configured_number_of_passes_is_used(
    device: str, threads: int, passes: int, lanes: int, each: int
) -> None:
    placement = place(device, threads, "int8", SMALL_MODEL, None, passes)
    assert (placement.lanes, placement.threads) == (lanes, each)


def test_a_named_gpu_and_a_configured_batch_size() -> None:
    placement = place("cuda:3", 2, "float16", SMALL_MODEL, 5)
    assert (placement.device, placement.index, placement.lanes, placement.batch) == (
        "cuda",
        3,
        1,
        5,
    )


def test_short_windows_are_for_a_cpu() -> None:
    assert place("cuda", 2, "float16", SMALL_MODEL, None).short_batch is None
    placement = place("cpu", 2, "int8", SMALL_MODEL, None)
    assert placement.short_batch is not None
    assert placement.short_batch > placement.batch
    assert place("cpu", 2, "int8", SMALL_MODEL, 3).short_batch == 3
