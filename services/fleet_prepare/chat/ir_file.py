"""Writes an OpenVINO IR without holding all of its weights in memory.

The graph is built over zeros of the right shapes, and each weight is written to the .bin file as
soon as it is computed. OpenVINO then writes the graph's XML, in which the offsets of the weights
are corrected. Format: docs.openvino.ai, "OpenVINO IR format" (a Const layer names element type,
shape, offset and size in the .bin file).
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

ALIGNMENT = 64
"""Bytes; a cache line, and more than any element type needs."""
Node = Any
"""An OpenVINO node or output; the package ships no types."""


class IrFile:
    """`folder/name.xml` and `folder/name.bin`; use as a context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        self._xml = folder / f"{name}.xml"
        self._bin = folder / f"{name}.bin"
        self._scratch = folder / f"{name}.scratch"
        self._file = self._bin.open("wb")
        self._places: dict[str, tuple[int, int]] = {}
        self._zeros = [np.zeros(0, dtype=np.uint8)]

    def __enter__(self) -> IrFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._scratch.unlink(missing_ok=True)

    def write(self, name: str, pieces: Iterable[NDArray[Any]]) -> tuple[int, int]:
        """Append the bytes of `pieces` as `name`; return their offset and size."""
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
        start = self._file.tell()
        for piece in pieces:
            self._file.write(np.ascontiguousarray(piece).view(np.uint8).data)
        self._places[name] = start, self._file.tell() - start
        return self._places[name]

    def constant(self, name: str, kind: Any, shape: tuple[int, ...]) -> Node:
        """A constant of what was written as `name`; `kind` is an openvino.Type."""
        _, size = self._places[name]
        if self._zeros[-1].size < size:
            # Untouched zeros take no memory. Earlier arrays stay: constants point into them.
            self._zeros.append(np.zeros(size, dtype=np.uint8))
        tensor = ov.Tensor(self._zeros[-1][:size], ov.Shape(shape), kind)
        node = op.constant(tensor, shared_memory=True)
        node.set_friendly_name(name)
        return node

    def finish(self, model: Any) -> None:
        """Write the XML, with small constants of the graph appended to the weights."""
        ov.serialize(model, str(self._xml), str(self._scratch))
        tree = ElementTree.parse(self._xml)  # noqa: S314  (OpenVINO wrote it just now)
        with self._scratch.open("rb") as small:
            for layer in tree.iterfind("./layers/layer[@type='Const']"):
                data = layer.find("data")
                assert data is not None  # noqa: S101  (OpenVINO writes one for each Const)
                place = self._places.get(layer.get("name", ""))
                if place is None:
                    small.seek(int(data.get("offset", 0)))
                    content = small.read(int(data.get("size", 0)))
                    place = self.write(f"small.{layer.get('id')}", [np.frombuffer(content, "u1")])
                elif place[1] != int(data.get("size", 0)):
                    raise RuntimeError(f"{layer.get('name')} takes {data.get('size')} bytes")
                data.set("offset", str(place[0]))
        tree.write(self._xml, encoding="utf-8", xml_declaration=True)
