"""The external data files of an ONNX graph.

Format: github.com/onnx/onnx/blob/main/onnx/onnx.proto (`TensorProto.external_data`) and
docs/ExternalData.md. The mapped file is parsed field by field, which skips tensors inside the graph
without reading them. Exporters use external data for initialisers and for attributes of nodes
(`Constant_7_attr__value` of BAAI/bge-m3).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fleet_weights.allowed import PICKLE_SUFFIXES
from fleet_weights.errors import WeightsError

MAX_FILES = 2000
"""Some exporters write one file for each tensor."""
MAX_DEPTH = 32
"""Of nested messages: attributes of nodes may contain graphs."""
MAX_FIELDS = 5_000_000
MAX_NAME_BYTES = 255

MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Fields on the way to a tensor, by message."""
KEY, VALUE = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def external_files(path: Path) -> list[str]:
    """Names of the files with tensors of the graph at `path`, in the same folder and without
    duplicates.

    Raises WeightsError for an invalid ONNX file, and for names in other folders or of pickles.
    """
    names: dict[str, None] = {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            for name in _Walk(raw).locations("model", 0, len(raw), 0):
                names[_checked(name, path.name)] = None
                if len(names) > MAX_FILES:
                    raise WeightsError(f"{path.name} names more than {MAX_FILES} files.")
    except ValueError as error:
        raise WeightsError(f"{path.name} is not a valid ONNX file: {error}.") from error
    return list(names)


class _Field(NamedTuple):
    number: int
    wire: int
    begin: int
    end: int


class _Walk:
    """One pass over a serialised ModelProto (protobuf.dev/programming-guides/encoding)."""

    def __init__(self, raw: mmap.mmap) -> None:
        self._raw = raw
        self._fields_read = 0

    def locations(self, kind: str, begin: int, end: int, depth: int) -> Iterator[str]:
        """Every `location` of external data in a message. Raises ValueError."""
        if depth > MAX_DEPTH:
            raise ValueError("its messages are nested too deeply")
        inside = MESSAGES[kind]
        for field in self._fields(begin, end):
            below = inside.get(field.number)
            if below is None or field.wire != BYTES:
                continue
            if below != "entry":
                yield from self.locations(below, field.begin, field.end, depth + 1)
            elif (location := self._location(field)) is not None:
                yield location

    def _location(self, entry: _Field) -> str | None:
        parts = {
            part.number: self._raw[part.begin : part.end]
            for part in self._fields(entry.begin, entry.end)
            if part.wire == BYTES and part.end - part.begin <= MAX_NAME_BYTES
        }
        if parts.get(KEY) != b"location":
            return None
        if VALUE not in parts:
            raise ValueError("the location of a tensor is missing or too long")
        return parts[VALUE].decode("utf-8")

    def _fields(self, begin: int, end: int) -> Iterator[_Field]:
        at = begin
        while at < end:
            self._fields_read += 1
            if self._fields_read > MAX_FIELDS:
                raise ValueError(f"it has more than {MAX_FIELDS} fields")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if wire == VARINT:
                _, stop = self._varint(at, end)
            elif wire == BYTES:
                length, at = self._varint(at, end)
                stop = at + length
            elif wire in (FIXED32, FIXED64):
                stop = at + (4 if wire == FIXED32 else 8)
            else:
                raise ValueError(f"wire type {wire} at byte {at}")
            if stop > end:
                raise ValueError(f"a field ends at byte {stop}, its message at {end}")
            yield _Field(number, wire, at, stop)
            at = stop

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError(f"a number is truncated at byte {at}")
            byte = self._raw[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise ValueError(f"a number of more than 10 bytes at byte {at}")


def _checked(name: str, graph: str) -> str:
    """A location, if it is the plain name of a file that may be fetched. Raises WeightsError."""
    plain = name.removeprefix("./")
    pure = PurePosixPath(plain)
    if len(pure.parts) != 1 or plain.startswith(".") or any(each in plain for each in "\\:\0"):
        raise WeightsError(
            f"{graph} keeps tensors in {name!r}, which is not in the same folder.",
            "Export the model with its external data in the folder of the graph.",
        )
    if pure.suffix in PICKLE_SUFFIXES:
        raise WeightsError(
            f"{graph} keeps tensors in {name!r}, which has the suffix of a pickle.",
            "Export the model with external data under another name, such as model.onnx_data.",
        )
    return plain
