"""The reader of safetensors: files written by the safetensors package, and invalid files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from fleet_prepare import safetensors_file
from fleet_prepare.safetensors_file import INDEX, WHOLE, open_tensors
from fleet_weights.errors import WeightsError

FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NARROW = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
}


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def shards(folder: Path, weight_map: Any) -> Path:
    """Two files, of one tensor each, and an index."""
    for number, name in enumerate(("a", "b"), 1):
        save_file({name: torch.full((2,), float(number))}, folder / f"model-{number}.safetensors")
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("stored", FLOATS)
def test_a_tensor_reads_as_the_float32_that_torch_makes_of_it(tmp_path: Path, stored: str) -> None:
    torch.manual_seed(1)
    value = (torch.randn(5, 3, 2) * 4).to(FLOATS[stored])
    save_file({"other": torch.ones(3), "a": value}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors:
        assert sorted(tensors.names) == ["a", "other"]
        assert (tensors.dtype("a"), tensors.shape("a")) == (stored, (5, 3, 2))
        assert tensors.bytes("a") == value.numel() * value.element_size()
        assert tensors.total_bytes == tensors.bytes("a") + 12
        np.testing.assert_array_equal(tensors.read("a"), value.float().numpy())
        np.testing.assert_array_equal(tensors.read_rows("a", 1, 4), value[1:4].float().numpy())
        assert tensors.read("a").dtype == np.float32


@pytest.mark.parametrize("stored", NARROW)
def test_every_8_bit_float_has_the_value_that_torch_gives_it(tmp_path: Path, stored: str) -> None:
    bits = np.arange(256, dtype=np.uint8)
    write(tmp_path / WHOLE, {"a": entry(stored, [256], [0, 256])}, bits.tobytes())
    expected = torch.from_numpy(bits).view(NARROW[stored]).float().numpy()
    with open_tensors(tmp_path) as tensors:
        np.testing.assert_array_equal(tensors.read("a"), expected)
        np.testing.assert_array_equal(tensors.read_raw("a")[1], bits)


def test_bfloat16_infinities_and_not_a_number_survive(tmp_path: Path) -> None:
    value = torch.tensor([float("inf"), float("-inf"), float("nan"), 1e-40]).bfloat16()
    save_file({"a": value}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors:
        np.testing.assert_array_equal(tensors.read("a"), value.float().numpy())
        stored, raw = tensors.read_raw("a")
    assert stored == "BF16"
    assert raw.dtype == np.uint16


def test_integers_scalars_and_empty_tensors(tmp_path: Path) -> None:
    save_file(
        {"i": torch.arange(3), "b": torch.tensor([True]), "s": torch.tensor(2.5),
         "e": torch.zeros(0, 4)},
        tmp_path / WHOLE,
    )  # fmt: skip
    with open_tensors(tmp_path) as tensors:
        assert tensors.read("i").tolist() == [0.0, 1.0, 2.0]
        assert tensors.read("b").tolist() == [1.0]
        assert tensors.read("s").shape == ()
        assert tensors.read("s") == np.float32(2.5)
        assert tensors.read("e").shape == (0, 4)
        assert tensors.read_rows("e", 0, 0).shape == (0, 4)


def test_a_returned_array_is_a_copy(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4)}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors:
        first: NDArray[np.float32] = tensors.read("a")
        first *= 3
        assert tensors.read("a").tolist() == [1.0] * 4


def test_shards_read_as_one(tmp_path: Path) -> None:
    shards(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    with open_tensors(tmp_path) as tensors:
        assert tensors.names == ["a", "b"]
        assert tensors.read("b").tolist() == [2.0, 2.0]
        assert tensors.path("b").name == "model-2.safetensors"
        assert tensors.total_bytes == 16


def test_the_whole_file_is_read_where_there_are_shards_too(tmp_path: Path) -> None:
    shards(tmp_path, {"a": "model-1.safetensors"})
    save_file({"w": torch.ones(1)}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors:
        assert tensors.names == ["w"]


@pytest.mark.parametrize(
    ("weight_map", "named"),
    [
        ({"a": "model-3.safetensors"}, "model-3.safetensors"),
        ({"a": "../model-1.safetensors"}, "not a safetensors file next to it"),
        ({"a": "config.json"}, "not a safetensors file next to it"),
        ({"a": "model-2.safetensors"}, "holds no tensor 'a'"),
        ({"a": 1}, "weight_map"),
        (["a"], "weight_map"),
    ],
)
def test_an_index_that_is_wrong_is_named(tmp_path: Path, weight_map: Any, named: str) -> None:
    with pytest.raises(WeightsError, match=named):
        open_tensors(shards(tmp_path, weight_map))


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds neither") as caught:
        open_tensors(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4)}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors, pytest.raises(WeightsError, match="no tensor 'b'"):
        tensors.read("b")


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        (b"{", b"", "Expecting"),
        (b"[]", b"", "not a JSON object"),
        (b"\xff\xfe\xff", b"", "decode"),
        (b"[" * 200_000, b"", "recursion"),
        ({"a": []}, b"", "not described"),
        ({"a": entry("F4")}, b"0" * 8, "unknown dtype 'F4'"),
        ({"a": entry(shape=[3])}, b"0" * 8, "shape"),
        ({"a": entry(shape=[-1, -2])}, b"0" * 8, "non-negative integer"),
        ({"a": entry(shape=[True, 2])}, b"0" * 8, "non-negative integer"),
        ({"a": entry(shape=[2.0])}, b"0" * 8, "non-negative integer"),
        ({"a": entry(shape=[1 << 62, 1 << 62])}, b"0" * 8, "shape"),
        ({"a": entry(offsets=[8, 16])}, b"0" * 16, "byte"),
        ({"a": entry(offsets=[0, 8]), "b": entry(offsets=[0, 8])}, b"0" * 8, "not at byte"),
        ({"a": entry()}, b"0" * 7, "its tensors end at byte"),
        ({"a": entry()}, b"0" * 9, "its tensors end at byte"),
        (b'{"a": {}, "a": {}}', b"", "twice"),
    ],
)
def test_an_incomplete_or_invalid_file_is_named(
    tmp_path: Path, header: Any, data: bytes, reason: str
) -> None:
    write(tmp_path / WHOLE, header, data)
    with pytest.raises(WeightsError, match=f"(?s){WHOLE}.*{reason}"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("length", [1 << 63, safetensors_file.MAX_HEADER_BYTES + 1, 1000])
def test_a_header_longer_than_the_bound_or_the_file_is_not_read(
    tmp_path: Path, length: int
) -> None:
    write(tmp_path / WHOLE, {}, length=length)
    with pytest.raises(WeightsError, match="header"):
        open_tensors(tmp_path)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / WHOLE).write_bytes(b"")
    with pytest.raises(WeightsError, match="0 bytes"):
        open_tensors(tmp_path)


def test_a_file_cut_short_while_open_is_an_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4)}, tmp_path / WHOLE)
    with open_tensors(tmp_path) as tensors:
        with (tmp_path / WHOLE).open("r+b") as file:
            file.truncate((tmp_path / WHOLE).stat().st_size - 4)
        with pytest.raises(WeightsError, match="ends within tensor 'a'"):
            tensors.read("a")
