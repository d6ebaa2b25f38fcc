"""bge-m3 in the layout of its public repository: an ONNX graph, external data, and pickles.

A small XLM-RoBERTa is exported like the public graph (two outputs, tensors of initialisers in
`model.onnx_data`, the tensor of one Constant node in a separate file), fetched from a local hub,
and compared with transformers.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import XLMRobertaConfig, XLMRobertaModel

from fleet_contract.spec import ModelSpec, Pooling
from fleet_prepare.encoder import supports
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.load_error import LoadError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store

ATTRIBUTE = "Constant_7_attr__value"
FETCHED = {
    "config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json",
    "sentence_bert_config.json", "onnx/model.onnx", "onnx/model.onnx_data", f"onnx/{ATTRIBUTE}",
}  # fmt: skip
TEXTS = ["hello", "The quick brown fox jumps over the lazy dog.", "token " * 90]


class Vectors(torch.nn.Module):
    """The two outputs of the public graph."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return hidden, torch.nn.functional.normalize(hidden[:, 0], dim=-1)


def small_model() -> torch.nn.Module:
    torch.manual_seed(2)
    config = XLMRobertaConfig(
        vocab_size=300, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=0.2,
        attn_implementation="eager",
    )  # fmt: skip
    return XLMRobertaModel(config, add_pooling_layer=False).eval()


def export(model: torch.nn.Module, folder: Path) -> None:
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
    both = {0: "batch_size", 1: "sequence_length"}
    plain = folder.with_suffix(".onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Vectors(model).eval(), (ids, (ids != 1).long()), plain, dynamo=False, opset_version=17,
            input_names=["input_ids", "attention_mask"],
            output_names=["token_embeddings", "sentence_embedding"],
            dynamic_axes={"input_ids": both, "attention_mask": both, "token_embeddings": both,
                          "sentence_embedding": {0: "batch_size"}},
        )  # fmt: skip
    graph = onnx.load(plain)
    folder.mkdir()
    _move_an_attribute(graph, folder / ATTRIBUTE)
    convert_model_to_external_data(graph, location="model.onnx_data", size_threshold=0)
    onnx.save(graph, folder / "model.onnx")


def _move_an_attribute(graph: onnx.ModelProto, file: Path) -> None:
    """Store the tensor of the first float Constant of a layer in a separate file."""
    tensor = next(
        node.attribute[0].t for node in graph.graph.node
        if node.op_type == "Constant" and node.attribute[0].t.data_type == TensorProto.FLOAT
        and "layer.0" in node.name
    )  # fmt: skip
    raw = numpy_helper.to_array(tensor).tobytes()
    file.write_bytes(raw)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", ATTRIBUTE), ("offset", "0"), ("length", str(len(raw)))):
        tensor.external_data.add(key=key, value=value)


def write_repository(folder: Path) -> torch.nn.Module:
    model = small_model()
    folder.mkdir()
    export(model, folder / "onnx")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        TEXTS * 4,
        trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"]),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    model.config.to_json_file(folder / "config.json")
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    (folder / "1_Pooling").mkdir()
    for name, content in {
        "1_Pooling/config.json": {"word_embedding_dimension": 64, "pooling_mode_cls_token": True},
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "modules.json": [{"type": f"sentence_transformers.models.{kind}", "path": path}
                         for kind, path in modules],
    }.items():  # fmt: skip
        (folder / name).write_text(json.dumps(content))
    for name in ("pytorch_model.bin", "colbert_linear.pt", "sparse_linear.pt"):
        (folder / name).write_bytes(pickle.dumps({"weight": [1.0]}))
    return model


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Address, folder and requested paths of a hub with one repository, BAAI/bge-m3."""
    folder, requested = tmp_path / "repository", []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/"):
                body = json.dumps({"sha": "c0ffee", "siblings": listing(folder)}).encode()
            else:
                requested.append(path.removeprefix("/BAAI/bge-m3/resolve/c0ffee/"))
                body = (folder / requested[-1]).read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, requested
    server.shutdown()
    thread.join()
    server.server_close()


def listing(folder: Path) -> list[dict[str, object]]:
    return [
        {"rfilename": str(file.relative_to(folder)), "size": file.stat().st_size,
         "lfs": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}
        for file in sorted(folder.rglob("*")) if file.is_file()
    ]  # fmt: skip


def test_bge_m3_from_the_hub(
    hub: tuple[str, Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address, repository, requested = hub
    model = write_repository(repository)
    fields = {"model": "BAAI/bge-m3", "task": "embedding", "source": "hf://BAAI/bge-m3@main",
              "dtype": "float32", "pooling": "cls"}  # fmt: skip
    spec = ModelSpec.model_validate(fields)
    folder = fetch(spec, Store(tmp_path / "models"), environ={"HF_ENDPOINT": address})
    assert set(requested) == FETCHED
    assert (folder / "onnx" / ATTRIBUTE).stat().st_size > 0
    assert supports(requested, json.loads((folder / "config.json").read_text())) == (
        "the repo ships onnx/model.onnx"
    )

    for each in (spec, spec.model_copy(update={"pooling": Pooling.AUTO})):
        engine = EmbeddingEngine(each, folder, 2)
        batch = engine.tokenize(TEXTS)
        found = engine.embed(batch)
        for ids, vector in zip(batch, found, strict=True):
            with torch.inference_mode():
                expected = model(input_ids=torch.tensor([ids]))[0][0, 0].numpy()
            expected /= np.linalg.norm(expected)
            assert float(vector @ expected) > 0.99999


@pytest.mark.parametrize("name", [ATTRIBUTE, "model.onnx_data"])
def test_a_missing_file_of_tensors_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "repository"
    write_repository(folder)
    (folder / "onnx" / name).unlink()
    spec = ModelSpec.model_validate({"model": "BAAI/bge-m3", "task": "embedding"})
    with pytest.raises(LoadError, match=f"stores tensors in {name}, which is not in") as caught:
        EmbeddingEngine(spec, folder, 2)
    assert "modelfleet pull" in caught.value.hint
