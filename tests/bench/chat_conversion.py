"""A random model with the shape of Llama 3.2 1B: its conversion, and its speed in several engines.

The same bfloat16 weights are converted to 8 and 4 bits, written as Q8_0 and Q4_0 GGUF for llama.cpp
(`pip install xllamacpp`), and read by the torch engine. Each engine runs in its own process and is
loaded once; they are measured in turns, so that a change of the machine's speed affects all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import stack

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import tiny_chat

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": tiny_chat.LLAMA,
    "1b": tiny_chat.LLAMA | {
        "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "3b": tiny_chat.LLAMA | {
        "vocab_size": 128256, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "4b": tiny_chat.LLAMA | {  # Qwen3 4B's sizes: 8 GB in bfloat16
        "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128,
    },
}  # fmt: skip
AT_ONCE = (1, 4, 16)
PROMPT_TOKENS = 32
GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}  # fmt: skip

Measure = Callable[[int, int], float]
"""Tokens per second with `at_once` concurrent requests of `tokens` new tokens each."""


def prompts(number: int, vocabulary: int) -> list[list[int]]:
    rng = np.random.default_rng(number)
    made: list[list[int]] = rng.integers(20, vocabulary - 20, (number, PROMPT_TOKENS)).tolist()
    return made


def write_source(folder: Path, config: dict[str, Any]) -> None:
    """Write one safetensors file for each layer, so that only one is in memory."""
    small = config | {"num_hidden_layers": 1, "vocab_size": tiny_chat.VOCABULARY}
    tiny_chat.write(folder, small)
    (folder / "model.safetensors").unlink()
    where: dict[str, str] = {}
    for layer in range(config["num_hidden_layers"]):
        mine = config | {"num_hidden_layers": 1}
        if layer:
            mine["vocab_size"] = 1
        made = {}
        for name, array in tiny_chat.random_tensors(mine, layer).items():
            if layer and not name.startswith("model.layers."):
                continue
            values = array if array.ndim == 1 else array * 0.1
            renamed = name.replace("layers.0.", f"layers.{layer}.")
            made[renamed] = (values.view(np.uint32) >> 16).astype(np.uint16)
        file = f"model-{layer + 1:05}-of-{config['num_hidden_layers']:05}.safetensors"
        tiny_chat.write_file(folder / file, made)
        where |= dict.fromkeys(made, file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))


def convert(source: Path, target: Path, quantization: str) -> None:
    """Run in a separate process; prints seconds and peak memory."""
    from fleet_prepare import chat
    from fleet_prepare.conversion import Conversion

    target.mkdir()
    before, started = _peak_kib(), perf_counter()
    chat.convert(Conversion(source, target, quantization, lambda *_: None, lambda: None, {}))
    seconds = perf_counter() - started
    peak = _peak_kib()
    size = sum(path.stat().st_size for path in target.iterdir())
    print(
        f"{quantization}: converted in {seconds:.0f} s, {size / 1e6:.0f} MB, peak memory "
        f"{peak / 1024:.0f} MiB ({before / 1024:.0f} before)",
        flush=True,
    )


def _peak_kib() -> int:
    """Peak memory of this program; getrusage would include that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def write_gguf(source: Path, path: Path, kind: str) -> None:
    import gguf

    from fleet_prepare.safetensors_file import open_tensors

    config = json.loads((source / "config.json").read_text())
    words = config["vocab_size"]
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    for name, value in {
        "block_count": config["num_hidden_layers"], "context_length": 8192,
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "head_count": config["num_attention_heads"],
        "head_count_kv": config["num_key_value_heads"],
        "layer_norm_rms_eps": config["rms_norm_eps"], "rope_freq_base": config["rope_theta"],
        "rope_dimension_count": config["head_dim"], "key_length": config["head_dim"],
        "value_length": config["head_dim"], "vocab_size": words,
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([f"t{number}" for number in range(words)])
    writer.add_token_types([gguf.TokenType.NORMAL] * words)
    writer.add_token_merges(["t 1"])
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(0)
    quantization = gguf.GGMLQuantizationType[kind]
    with open_tensors(source) as tensors:
        for name in tensors.names:
            values, short = tensors.read(name), name
            for long, abbreviated in GGUF_NAMES.items():
                short = short.replace(long, abbreviated)
            if values.ndim == 1:
                writer.add_tensor(short, values)
                continue
            mine = gguf.GGMLQuantizationType.Q8_0 if "embd" in short else quantization
            writer.add_tensor(short, gguf.quants.quantize(values, mine), raw_dtype=mine)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ours(engine: str, folder: Path, vocabulary: int) -> Measure:
    """The openvino or the torch engine."""
    from fleet_server.protocols import Sampling

    spec = ModelSpec.model_validate({
        "model": "bench", "device": "cpu", "contextLength": 4096, "limits": {"maxConcurrent": 16},
        "cache": {"kvGib": 1, "prefix": False},
    })  # fmt: skip
    if engine == "torch":
        from fleet_server.engines.torch import TorchChat as Engine
    else:
        from fleet_server.engines.openvino.chat import OpenVinoChat as Engine
    model: Any = Engine(spec, folder, available_cpus())

    def measure(at_once: int, tokens: int) -> float:
        steps: queue.Queue[Any] = queue.Queue()
        started, made, ended = perf_counter(), 0, 0
        for ids in prompts(at_once, vocabulary):
            model.submit(model.prompt_of(ids), Sampling(tokens, temperature=0), steps.put)
        while ended < at_once:
            step = steps.get()
            if step.error is not None:
                raise step.error
            made += len(step.token_ids)
            ended += step.finish is not None
        return made / (perf_counter() - started)

    return measure


def llama_cpp(path: Path, vocabulary: int) -> Measure:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx = max(AT_ONCE), 1024 * max(AT_ONCE)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cpus()
    server = xllamacpp.Server(params)
    pool = ThreadPoolExecutor(max(AT_ONCE))

    def measure(at_once: int, tokens: int) -> float:
        def one(ids: list[int]) -> int:
            body = {"prompt": ids, "n_predict": tokens, "temperature": 0, "ignore_eos": True,
                    "cache_prompt": False}  # fmt: skip
            return int(server.handle_completions(body)["usage"]["completion_tokens"])

        started = perf_counter()
        made = sum(pool.map(one, prompts(at_once, vocabulary)))
        return made / (perf_counter() - started)

    return measure


def work(connection: Any, name: str, path: Path, vocabulary: int) -> None:
    """Respond to each (at once, tokens) with tokens per second and resident MB."""
    started = perf_counter()
    if name.startswith("llama.cpp"):
        measure = llama_cpp(path, vocabulary)
    else:
        measure = ours(name, path, vocabulary)
    connection.send(perf_counter() - started)
    while (request := connection.recv()) is not None:
        connection.send((measure(*request), resident()))


def resident() -> float:
    """MB of this process, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def compare(engines: dict[str, Path], vocabulary: int, tokens: int, rounds: int) -> Iterator[Any]:
    """Rows of name, load time in seconds, median tokens per second at each level, resident MB."""
    context = multiprocessing.get_context("spawn")
    running: dict[str, Any] = {}
    loads: dict[str, float] = {}
    for name, path in engines.items():
        mine, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, name, path, vocabulary), daemon=True)
        process.start()
        theirs.close()
        running[name], loads[name] = mine, mine.recv()
    rates: dict[tuple[str, int], list[float]] = {}
    memory: dict[str, float] = {}
    for turn in range(rounds + 1):
        for at_once in AT_ONCE:
            for name, connection in running.items():
                connection.send((at_once, tokens if turn else 4))
                rate, memory[name] = connection.recv()
                if turn:
                    rates.setdefault((name, at_once), []).append(rate)
    for name, connection in running.items():
        connection.send(None)
        medians = [statistics.median(rates[name, at_once]) for at_once in AT_ONCE]
        yield [name, loads[name], *medians, memory[name]]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--shape", choices=tuple(SHAPES), default="1b")
    parse.add_argument("--tokens", type=int, default=64)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--folder", type=Path, help="keep the files here and use them again")
    parse.add_argument("--without", nargs="*", default=[], help="engines to leave out")
    parse.add_argument("--only-convert", action="store_true", help="measure no speed")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        source, config = home / "source", SHAPES[options.shape]
        if not (source / "config.json").exists():
            write_source(source, config)
        engines = {
            "openvino int8": home / "int8", "llama.cpp Q8_0": home / "Q8_0.gguf",
            "openvino int4": home / "int4", "llama.cpp Q4_0": home / "Q4_0.gguf", "torch": source,
        }  # fmt: skip
        engines = {name: path for name, path in engines.items() if name not in options.without}
        for path in engines.values():
            if path.exists():
                continue
            job, rest = (write_gguf, (path.stem,)) if path.suffix else (convert, (path.name,))
            process = multiprocessing.get_context("spawn").Process(
                target=job, args=(source, path, *rest)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{path.name} could not be made")
        if options.only_convert:
            return
        rows = list(compare(engines, config["vocab_size"], options.tokens, options.rounds))
        levels = [f"tokens/s at {at_once}" for at_once in AT_ONCE]
        columns = ["engine", "load s", *levels, "resident MB"]
        stack.show(f"Chat, random {options.shape}", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
