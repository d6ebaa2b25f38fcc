"""RerankEngine on tiny random cross-encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import RerankEngine
from fleet_server.load_error import LoadError
from fleet_server.protocols import RerankModel

Write = Callable[..., Path]
Tensors = Callable[..., dict[str, np.ndarray]]
SPEC = ModelSpec.model_validate({"model": "tiny", "task": "rerank", "dtype": "float32"})


def test_scores_do_not_depend_on_the_batch(tiny_encoder: Write, encoder_tensors: Tensors) -> None:
    engine = RerankEngine(SPEC, tiny_encoder(encoder_tensors(head=True)), 1)
    assert isinstance(engine, RerankModel)
    pairs = engine.tokenize_pairs("w1 w2", ["w3", "w4 w5 w6 w7 w8 w9", ""])
    assert pairs[0] == [2, 5, 6, 3, 7, 3]
    together = engine.score(pairs)
    assert together.shape == (3,)
    assert together.dtype == np.float32
    assert np.ptp(together) > 0.01
    alone = np.concatenate([engine.score([ids]) for ids in pairs])
    assert alone == pytest.approx(together, abs=1e-5)


def test_the_second_text_has_a_type_of_its_own(
    tiny_encoder: Write, encoder_tensors: Tensors
) -> None:
    tensors = encoder_tensors(head=True)
    with_types = RerankEngine(SPEC, tiny_encoder(tensors), 1)
    kinds = tensors["embeddings.token_type_embeddings.weight"]
    kinds[1] = kinds[0]
    without = RerankEngine(SPEC, tiny_encoder(tensors), 1)
    pairs = with_types.tokenize_pairs("w1", ["w2 w3"])
    assert abs(float(with_types.score(pairs)[0] - without.score(pairs)[0])) > 1e-4


def test_truncation_cuts_the_document(tiny_encoder: Write, encoder_tensors: Tensors) -> None:
    engine = RerankEngine(SPEC, tiny_encoder(encoder_tensors(head=True)), 1)
    (ids,) = engine.tokenize_pairs("w1", ["w2 " * 50])
    cut = engine.truncate_pair(ids)
    assert (len(cut), cut[:3], cut[-1]) == (24, [2, 5, 3], 3)
    engine.score([cut])


def test_an_encoder_without_a_scoring_head_is_refused(
    tiny_encoder: Write, encoder_tensors: Tensors
) -> None:
    with pytest.raises(LoadError, match=r"classifier\.weight"):
        RerankEngine(SPEC, tiny_encoder(), 1)
    tensors = encoder_tensors(head=True)
    tensors |= {
        "classifier.weight": np.zeros((3, 16), np.float32),
        "classifier.bias": np.zeros(3, np.float32),
    }
    with pytest.raises(LoadError, match="3"):
        RerankEngine(SPEC, tiny_encoder(tensors), 1)
