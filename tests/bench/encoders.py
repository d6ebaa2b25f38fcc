"""A full-size encoder with random weights in both engines: speed, load time and memory.

    python tests/bench/encoders.py [--stored BF16] [--threads 2] [--rounds 5]

Writes the files of google/embeddinggemma-300m (1.2 GB in F32) to a temporary folder and loads each
engine in its own process. The engines are measured in turns in short rounds, because the speed of a
machine varies; medians are shown. Vectors are compared as well.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec

ENGINES = {
    "openvino": "fleet_server.engines.openvino.encoder:EmbeddingEngine",
    "torch": "fleet_server.engines.torch:TorchEmbedding",
}
SHAPES = ((1, 16), (1, 128), (16, 32), (16, 128), (4, 700))
"""Inputs of a batch and tokens of each; the last ones are longer than an attention window."""
HIDDEN, INNER, HEAD, HEADS, LAYERS, VOCABULARY = 768, 1152, 256, 3, 24, 262144
DENSE = {"2_Dense": (3072, HIDDEN), "3_Dense": (HIDDEN, 3072)}
CONFIG = {
    "architectures": ["Gemma3TextModel"], "attention_bias": False, "attn_logit_softcapping": None,
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "head_dim": HEAD,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": HIDDEN, "intermediate_size": INNER,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * (LAYERS // 6),
    "max_position_embeddings": 2048, "model_type": "gemma3_text", "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS, "num_key_value_heads": 1, "query_pre_attn_scalar": HEAD,
    "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000.0, "rope_scaling": None,
    "rope_theta": 1000000.0, "sliding_window": 512, "use_bidirectional_attention": True,
    "vocab_size": VOCABULARY,
}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    made: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (VOCABULARY, HIDDEN), "norm.weight": (HIDDEN,)
    }  # fmt: skip
    for layer in range(LAYERS):
        base = f"layers.{layer}."
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            made[f"{base}{name}_layernorm.weight"] = (HIDDEN,)
        for name, size in {
            "self_attn.q_proj": (HEADS * HEAD, HIDDEN), "self_attn.k_proj": (HEAD, HIDDEN),
            "self_attn.v_proj": (HEAD, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
            "self_attn.q_norm": (HEAD,), "self_attn.k_norm": (HEAD,),
            "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }.items():  # fmt: skip
            made[f"{base}{name}.weight"] = size
    return made


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]], stored: str) -> None:
    """Write random tensors, one at a time."""
    width, at, header = (2 if stored == "BF16" else 4), 0, {}
    for name, size in tensors.items():
        length = width * int(np.prod(size))
        header[name] = {"dtype": stored, "shape": size, "data_offsets": [at, at + length]}
        at += length
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    random = np.random.default_rng(1)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for name, size in tensors.items():
            values = random.standard_normal(size, dtype=np.float32)
            values *= np.float32(0.3 if "norm" in name else 0.04)
            if stored == "BF16":
                file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
            else:
                file.write(values.tobytes())


def write_model(folder: Path, stored: str) -> None:
    from tokenizers import Tokenizer, models

    write_safetensors(folder / "model.safetensors", shapes(), stored)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    Tokenizer(models.WordLevel({"[UNK]": 3, "a": 4}, unk_token="[UNK]")).save(
        str(folder / "tokenizer.json")
    )
    for place, (out, size) in DENSE.items():
        write_safetensors(
            folder / place / "model.safetensors", {"linear.weight": (out, size)}, stored
        )
        (folder / place / "config.json").write_text(json.dumps({
            "in_features": size, "out_features": out, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }))  # fmt: skip
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), *(("Dense", each) for each in DENSE)]
    (folder / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{kind}", "path": path}
                    for kind, path in modules])
    )  # fmt: skip


def memory() -> dict[str, int]:
    """MB of this process: the peak, and currently resident, anonymous and mapped memory."""
    text = Path("/proc/self/status").read_text()
    fields = {"peak": "VmHWM", "anonymous": "RssAnon", "files": "RssFile"}
    return {
        name: int(re.search(rf"{key}:\s+(\d+)", text)[1]) // 1024  # type: ignore[index]
        for name, key in fields.items()
    }


def work(engine: str, folder: Path, threads: int, dtype: str) -> None:
    """A child process: loads, then processes its input, one line of JSON each."""
    fields = {"model": "bench", "task": "embedding", "device": "cpu", "dtype": dtype}
    module, _, name = ENGINES[engine].partition(":")
    factory = getattr(__import__(module, fromlist=[name]), name)
    started = time.perf_counter()
    model = factory(ModelSpec.model_validate(fields), folder, threads)
    loaded = {"load_seconds": time.perf_counter() - started}
    print(json.dumps(loaded | memory()), flush=True)
    for line in sys.stdin:
        number, length, seed = json.loads(line)
        random = np.random.default_rng(seed)
        batch = random.integers(4, VOCABULARY, (number, length)).tolist()
        started, passes = time.perf_counter(), 0
        while passes < 2 or time.perf_counter() - started < 1.5:
            vectors = model.embed(batch)
            passes += 1
        rate = passes * number / (time.perf_counter() - started)
        print(json.dumps({"rate": rate, "vector": vectors[0].tolist()} | memory()), flush=True)


class Child:
    def __init__(self, engine: str, folder: Path, options: argparse.Namespace) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", engine, "--folder", str(folder),
             "--threads", str(options.threads), "--dtype", options.dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.loaded = self._read()

    def run(self, *what: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("An engine ended; its error is above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(children: dict[str, Child], rounds: int) -> Iterator[str]:
    for number, length in SHAPES:
        rates: dict[str, list[float]] = {name: [] for name in children}
        agreement = []
        for turn in range(rounds):
            answers = {name: child.run(number, length, turn) for name, child in children.items()}
            for name, answer in answers.items():
                rates[name].append(answer["rate"])
            one, other = (np.array(answer["vector"]) for answer in answers.values())
            agreement.append(float(one @ other))
        ours, theirs = (statistics.median(rates[name]) for name in children)
        yield (
            f"| {number} x {length} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} | "
            f"{min(agreement):.6f} |"
        )


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--stored", choices=("F32", "BF16"), default="F32")
    parse.add_argument("--dtype", default="float32")
    parse.add_argument("--threads", type=int, default=available_cpus())
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--work", choices=tuple(ENGINES), help=argparse.SUPPRESS)
    parse.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parse.parse_args()
    if options.work:
        work(options.work, options.folder, options.threads, options.dtype)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), options.stored)
        children = {name: Child(name, Path(folder), options) for name in ENGINES}
        print("| engine | seconds to load | peak MB | anonymous MB | mapped MB |")
        print("|---|---|---|---|---|")
        for name, child in children.items():
            at = child.loaded
            print(f"| {name} | {at['load_seconds']:.1f} | {at['peak']} | {at['anonymous']} | "
                  f"{at['files']} |")  # fmt: skip
        print("\n| inputs x tokens | openvino inputs/s | torch inputs/s | ratio | least cosine |")
        print("|---|---|---|---|---|")
        for row in measure(children, options.rounds):
            print(row, flush=True)
        for name, child in children.items():
            print(f"{name} after these rounds: {child.run(1, 16, 0)['peak']} MB at its peak")
            child.close()


if __name__ == "__main__":
    main()
