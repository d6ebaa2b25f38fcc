from __future__ import annotations

from pathlib import Path

import pytest
import xllamacpp

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.parameters import shared


def test_no_prompts_are_kept_besides_the_cache() -> None:
    params = shared(Path("m.gguf"), ModelSpec.model_validate({"model": "m"}), 1)
    assert (params.cache_ram_mib, params.cache_idle_slots) == (0, False)
    assert params.n_ctx_checkpoints == 2


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "F16"), ({"dtype": "float16"}, "F16"), ({"dtype": "float32"}, "F32"),
        ({"cache": {"type": "q8_0"}}, "Q8_0"),
    ],
)  # fmt: skip
def test_the_format_of_the_cache(fields: dict[str, object], kind: str) -> None:
    params = shared(Path("m.gguf"), ModelSpec.model_validate({"model": "m", **fields}), 1)
    wanted = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind}")
    assert (params.cache_type_k, params.cache_type_v) == (wanted, wanted)
