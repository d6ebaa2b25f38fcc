"""Writes the detokenizer that GenAI loads with a model: token ids to text without special tokens.

GenAI reads the vocabulary from its constants, also for grammars. The operations are those of the
OpenVINO Tokenizers extension (github.com/openvinotoolkit/openvino_tokenizers).
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as op
from openvino.utils.node_factory import NodeFactory

from fleet_contract.installation import install_command
from fleet_prepare.chat.vocabulary import TokenizerVocabulary
from fleet_weights.errors import WeightsError

NAME = "openvino_detokenizer"
END = np.iinfo(np.int32).max


def write(folder: Path, vocabulary: TokenizerVocabulary, size: int, ids: Mapping[str, int]) -> None:
    """Write `folder/openvino_detokenizer.xml` for token ids below `size` at least.

    `ids` are special tokens by GenAI's names, such as `eos_token_id`.
    """
    extension = _extension()
    # Nodes outlive the factory, which unloads the library with it; ctypes keeps it loaded.
    ctypes.CDLL(str(extension))
    factory = NodeFactory()
    factory.add_extension(extension)
    tokens = op.parameter([-1, -1], ov.Type.i64)
    skipped = op.slice(_ints(*sorted(vocabulary.special)), _ints(0), _ints(END), _ints(1))
    narrow = op.convert(tokens, "i32").output(0)
    pieces = _strings(vocabulary, size)
    decoded = factory.create("VocabDecoder", [narrow, *pieces, skipped.output(0)])
    *ragged, characters = decoded.outputs()
    joined = factory.create("FuzeRagged", ragged).outputs()
    valid = factory.create("UTF8Validate", [*joined, characters], {"replace_mode": True})
    text = op.string_tensor_pack(*valid.outputs())
    text.output(0).set_names({"string_output"})
    model = ov.Model([op.result(text)], [tokens], "detokenizer")
    for name, value in ids.items():
        model.set_rt_info(value, name)
    ov.serialize(model, str(folder / f"{NAME}.xml"), str(folder / f"{NAME}.bin"))


def _strings(vocabulary: TokenizerVocabulary, size: int) -> list[Any]:
    """Begin and end of each piece, and the bytes of all."""
    size = max(size, max(vocabulary.pieces) + 1)
    pieces = [vocabulary.pieces.get(index, b"") for index in range(size)]
    ends: NDArray[np.int32] = np.cumsum([len(piece) for piece in pieces], dtype=np.int32)
    begins = np.concatenate([np.zeros(1, np.int32), ends[:-1]])
    content = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    return [op.constant(array).output(0) for array in (begins, ends, content)]


def _extension() -> Path:
    """The library of the installed extension. Importing its package would patch openvino.Core."""
    spec = importlib.util.find_spec("openvino_tokenizers")
    for home in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(home).glob("lib/*openvino_tokenizers*")):
            if path.suffix in (".so", ".dylib", ".dll"):
                return path
    raise WeightsError(
        "The OpenVINO Tokenizers extension is not installed.",
        f"Install it with `{install_command('server')}`.",
    )


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, dtype=np.int32))
