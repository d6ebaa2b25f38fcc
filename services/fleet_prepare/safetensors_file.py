"""Tensors of a repository's safetensors files, read one at a time.

Format: huggingface.co/docs/safetensors (eight bytes of header length, a JSON header, raw data).
The safetensors package is not used because it returns neither bfloat16 nor 8-bit floats as NumPy
arrays, reads no part of a tensor in those formats and parses headers of up to 100 MB. Tensors are
read rather than mapped: mapped pages count as resident memory until the file is closed, and a file
that is truncated meanwhile would kill the process with SIGBUS.
"""

from __future__ import annotations

import json
import math
import os
import struct
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.number_formats import STORED, Float32, float32
from fleet_weights.errors import WeightsError

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 16 << 20
"""Of a header or an index; 40,000 tensors take about 5 MB."""
FETCH_AGAIN = "Fetch the model again with `modelfleet pull`."


@dataclass(frozen=True, slots=True)
class TensorLocation:
    """Location of a tensor: bytes `begin` to `end` of an open file."""

    file: FileIO
    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Tensors:
    """Tensors by name. Safe to use from several threads."""

    def __init__(self, entries: Mapping[str, TensorLocation], files: ExitStack) -> None:
        self._entries = dict(entries)
        self._files = files
        self._lock = threading.Lock()

    def __enter__(self) -> Tensors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._files.close()

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(entry.end - entry.begin for entry in self._entries.values())

    @property
    def elements(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(entry.shape) for entry in self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises WeightsError if there is no such tensor, as every method here."""
        return self._find(name).shape

    def dtype(self, name: str) -> str:
        """The stored format by safetensors' name, such as `F16`; see number_formats.STORED."""
        return self._find(name).dtype

    def bytes(self, name: str) -> int:
        """Length of the tensor as stored."""
        entry = self._find(name)
        return entry.end - entry.begin

    def path(self, name: str) -> Path:
        """The file that holds the tensor."""
        return self._find(name).path

    def read(self, name: str) -> Float32:
        """The tensor as a new float32 array."""
        stored, array = self.read_raw(name)
        return float32(stored, array)

    def read_rows(self, name: str, start: int, stop: int) -> Float32:
        """Rows `start` to `stop` along the first dimension as a new float32 array."""
        entry = self._find(name)
        if not 0 <= start <= stop <= entry.shape[0]:
            raise IndexError(f"rows {start} to {stop} of {entry.shape[0]}")
        row = (entry.end - entry.begin) // max(1, entry.shape[0])
        array = self._read(name, entry, entry.begin + start * row, entry.begin + stop * row)
        return float32(entry.dtype, array.reshape(stop - start, *entry.shape[1:]))

    def read_raw(self, name: str) -> tuple[str, NDArray[Any]]:
        """The stored format and a new array in it; bfloat16 as uint16, 8-bit floats as uint8."""
        entry = self._find(name)
        array = self._read(name, entry, entry.begin, entry.end)
        return entry.dtype, array.reshape(entry.shape)

    def _read(self, name: str, entry: TensorLocation, begin: int, end: int) -> NDArray[Any]:
        dtype = STORED[entry.dtype]
        array = np.empty((end - begin) // dtype.itemsize, dtype)
        view = array.view(np.uint8).data
        try:
            with self._lock:
                entry.file.seek(begin)
                # One call reads at most 2 GiB.
                while len(view) and (count := entry.file.readinto(view)):
                    view = view[count:]
        except OSError as error:
            raise WeightsError(f"{entry.path} cannot be read: {error}.") from error
        if len(view):
            raise WeightsError(f"{entry.path} ends within tensor {name!r}.", FETCH_AGAIN)
        return array

    def _find(self, name: str) -> TensorLocation:
        found = self._entries.get(name)
        if found is None:
            raise WeightsError(
                f"The weights hold no tensor {name!r}.",
                "They are incomplete, or config.json names another architecture.",
            )
        return found


def open_tensors(folder: Path) -> Tensors:
    """The tensors of model.safetensors in `folder`, else of the files that its index names.

    Reads the headers only. Raises WeightsError that names a file which is missing, cut short or
    not in the format.
    """
    with ExitStack() as files:
        if (folder / WHOLE).is_file():
            entries = _open(folder / WHOLE, files)
        elif (folder / INDEX).is_file():
            entries = _open_shards(folder, files)
        else:
            raise WeightsError(f"{folder} holds neither {WHOLE} nor {INDEX}.", FETCH_AGAIN)
        return Tensors(entries, files.pop_all())
    raise AssertionError("ExitStack suppresses nothing")


def open_file(path: Path) -> Tensors:
    """The tensors of one file. Raises WeightsError as `open_tensors`."""
    with ExitStack() as files:
        return Tensors(_open(path, files), files.pop_all())
    raise AssertionError("ExitStack suppresses nothing")


def _open_shards(folder: Path, files: ExitStack) -> dict[str, TensorLocation]:
    index = folder / INDEX
    where = _weight_map(index)
    opened: dict[str, dict[str, TensorLocation]] = {}
    for shard in dict.fromkeys(where.values()):
        if shard != os.path.basename(shard) or not shard.endswith(".safetensors"):
            raise WeightsError(f"{index} names {shard!r}, not a safetensors file next to it.")
        opened[shard] = _open(folder / shard, files)
    for name, shard in where.items():
        if name not in opened[shard]:
            raise WeightsError(
                f"{folder / shard} holds no tensor {name!r}, which {index.name} places there.",
                FETCH_AGAIN,
            )
    return {name: opened[shard][name] for name, shard in where.items()}


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > MAX_HEADER_BYTES:
            raise ValueError(f"it is larger than {MAX_HEADER_BYTES} bytes")
        content = json.loads(index.read_bytes())
        found = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise ValueError("it has no weight_map of names")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{index} cannot be read: {error}.", FETCH_AGAIN) from error
    return found


def _open(path: Path, files: ExitStack) -> dict[str, TensorLocation]:
    try:
        # Not a `with` block: the stack, owned by `Tensors` afterwards, closes it.
        file = files.enter_context(FileIO(path))
        size = os.fstat(file.fileno()).st_size
        header, start = _header(file, size)
        entries = {
            name: _entry(file, path, name, value, start)
            for name, value in header.items()
            if name != "__metadata__"
        }
        _check_layout(entries.values(), start, size)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path} is not a valid safetensors file: {error}.", FETCH_AGAIN
        ) from error
    return entries


def _header(file: FileIO, size: int) -> tuple[dict[str, Any], int]:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise ValueError(f"it has {len(prefix)} bytes")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header would have {length} bytes, more than {MAX_HEADER_BYTES}")
    if 8 + length > size:
        raise ValueError(f"its header ends at byte {8 + length} of {size}")
    header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names a tensor twice")
    return found


def _entry(file: FileIO, path: Path, name: str, value: Any, start: int) -> TensorLocation:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]}:
            numbers = [*shape, begin, end]
        case _:
            raise ValueError(f"tensor {name!r} is not described as the format requires")
    if dtype not in STORED:
        raise ValueError(f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"tensor {name!r} has a size that is not a non-negative integer")
    if math.prod(shape) * STORED[dtype].itemsize != end - begin:
        raise ValueError(f"tensor {name!r} has shape {shape} in {end - begin} bytes of {dtype}")
    return TensorLocation(file, path, dtype, tuple(shape), start + begin, start + end)


def _check_layout(entries: Iterable[TensorLocation], start: int, size: int) -> None:
    """The tensors fill the file without gaps or overlaps, as the format requires."""
    position = start
    for begin, end in sorted((entry.begin, entry.end) for entry in entries):
        if begin != position:
            raise ValueError(f"a tensor starts at byte {begin}, not at byte {position}")
        position = end
    if position != size:
        raise ValueError(f"its tensors end at byte {position} of {size}")
