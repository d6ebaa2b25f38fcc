"""Loads what both encoder engines need: files, tokenizer, maximum length, executor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import openvino as ov

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.encoder_files import limits, positions
from fleet_server.engines.encoder_files.extra_inputs import Fill, positions_from
from fleet_server.engines.encoder_files.tokenizer import TextTokenizer
from fleet_server.engines.openvino.encoder.executor import GraphExecutor
from fleet_server.engines.openvino.encoder.files import GraphFiles, find
from fleet_server.engines.openvino.encoder.static_executor import StaticExecutor
from fleet_server.engines.openvino.properties import compile_properties, plugin


@dataclass(frozen=True, slots=True)
class Loading:
    """The contents of a model folder that are read before its graph, and the number format."""

    spec: ModelSpec
    files: GraphFiles
    tokenizer: TextTokenizer
    threads: int
    max_tokens: int
    dtype: Dtype

    @classmethod
    def start(cls, spec: ModelSpec, folder: Path, threads: int, dtype: Dtype | None) -> Loading:
        """`dtype` is by default that of the spec. Raises LoadError for files that are missing or
        not supported."""
        files = find(folder)
        tokenizer = TextTokenizer(files.tokenizer, threads)
        max_tokens = limits.max_tokens(
            spec.context_length,
            positions.position_rows(files.config),
            files.recipe.max_tokens,
            files.tokenizer.parent,
        )
        return cls(spec, files, tokenizer, threads, max_tokens, dtype or spec.dtype)

    def fills(self, types: Fill) -> dict[str, Fill]:
        """The inputs that a graph may take besides ids and mask."""
        offset = positions.position_offset(self.files.config)
        return {"token_type_ids": types, "position_ids": positions_from(offset)}

    def compile(
        self, model: ov.Model, fills: dict[str, Fill], memory: object, *, lanes: bool = False
    ) -> GraphExecutor | StaticExecutor:
        """An executor of `model`, with several lanes if `lanes` and on a CPU. Raises LoadError.

        `memory` owns the memory of constants that hold no reference to it.
        """
        inputs = {port.get_any_name() for port in model.inputs}
        pad_id = self.files.config.get("pad_token_id") or 0
        used = {name: fill for name, fill in fills.items() if name in inputs}
        device, exact = self.spec.device, self.spec.dtype is Dtype.FLOAT32
        if plugin(device) == "NPU":
            properties = compile_properties(self.dtype, self.threads, device)
            return StaticExecutor(
                model, "NPU", properties, pad_id, self.max_tokens, used, memory=memory
            )
        return GraphExecutor(
            model, self.threads, self.dtype, pad_id, self.max_tokens, used, memory=memory,
            lanes=lanes, device=device, exact=exact,
        )  # fmt: skip
