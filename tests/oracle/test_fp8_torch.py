"""FP8 checkpoints with block scales: the torch engine against the same weights dequantised here.

The checkpoints are written like those of the hub: float8_e4m3fn matrices, `weight_scale_inv` with
one factor per 128 x 128 block; embeddings, norms, head and vision tower are in full precision.
"""

from __future__ import annotations

import json
import queue
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.torch import TorchChat, fp8
from fleet_server.engines.torch.checkpoint import ModelFolder
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.load_error import LoadError
from fleet_server.protocols import Sampling, Step
from support.tiny_checkpoints import like_qwen3_vl, shape, write_chat

BLOCK = 128
NEW = 16
FP8 = torch.float8_e4m3fn
QUESTIONS = ["The quick brown fox", "Wie heißt der Hund?", "batch " * 37]


def quantised(weight: torch.Tensor, scales: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """float8 values and the factor of each block: the largest value of a block becomes 448."""
    rows, columns = weight.shape[0] // BLOCK, weight.shape[1] // BLOCK
    blocks = weight.reshape(rows, BLOCK, columns, BLOCK)
    factors = (blocks.abs().amax((1, 3)) / torch.finfo(FP8).max).to(scales)
    values = blocks / factors.float()[:, None, :, None]
    return values.reshape(weight.shape).to(FP8), factors


def dequantised(values: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Each value times the factor of its block, in float32."""
    wide = factors.float().repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return values.float() * wide


def is_converted(name: str, tensor: torch.Tensor) -> bool:
    """Qwen's FP8 repositories convert the linear layers of the language model, but not its head."""
    return tensor.ndim == 2 and "_proj.weight" in name and "visual" not in name


def write_pair(folder: Path, scales: torch.dtype) -> tuple[Path, Path]:
    """Convert the model in `folder` to FP8; writes the dequantised model next to it."""
    twin = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-twin")))
    stored: dict[str, torch.Tensor] = {}
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if is_converted(name, tensor):
            values, factors = quantised(tensor, scales)
            stored[name] = values
            stored[name.replace(".weight", ".weight_scale_inv")] = factors
            plain[name] = dequantised(values, factors)
        else:
            stored[name] = plain[name] = tensor
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    save_file(plain, twin / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    kept = [name.removesuffix(".weight") for name in plain if not is_converted(name, plain[name])]
    config["quantization_config"] = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "modules_to_not_convert": kept,
        "quant_method": "fp8",
        "weight_block_size": [BLOCK, BLOCK],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder, twin


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Architecture of Qwen/Qwen3-4B-Instruct-2507-FP8, with scales in bfloat16."""
    folder = tmp_path_factory.mktemp("fp8") / "qwen3"
    write_chat(folder, "qwen3")
    torch.manual_seed(8)
    sizes = {"hidden_size": 256, "intermediate_size": 384, "head_dim": 64}
    Qwen3ForCausalLM(Qwen3Config(**shape(**sizes))).save_pretrained(folder)
    return write_pair(folder, torch.bfloat16)


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Architecture of Qwen/Qwen3-VL-4B-Instruct-FP8, with scales in float32."""
    folder = tmp_path_factory.mktemp("fp8") / "qwen3-vl"
    write_chat(folder, "qwen3-vl")
    torch.manual_seed(9)
    like_qwen3_vl(256, (16, 8, 8), intermediate_size=384, head_dim=64).save_pretrained(folder)
    return write_pair(folder, torch.float32)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny-fp8", "device": "cpu"} | fields)


@pytest.fixture
def load() -> Iterator[Callable[..., TorchChat]]:
    made: list[TorchChat] = []

    def build(folder: Path, **fields: Any) -> TorchChat:
        made.append(TorchChat(spec(**fields), folder, 1))
        return made[-1]

    yield build
    for engine in made:
        engine.close()


def generate(engine: TorchChat, prompt: Any) -> list[int]:
    steps: queue.Queue[Step] = queue.Queue()
    engine.submit(prompt, Sampling(NEW, temperature=0), steps.put)
    ids: list[int] = []
    while True:
        step = steps.get(timeout=180)
        assert step.error is None, step.error
        ids.extend(step.token_ids)
        if step.finish is not None:
            return ids


def generated(model: Any, **inputs: Any) -> list[int]:
    """transformers' greedy tokens, without the end token."""
    made = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)
    ids: list[int] = made[0, inputs["input_ids"].shape[1] :].tolist()
    return ids[:-1] if ids and ids[-1] == 2 else ids


def test_greedy_tokens_of_a_text_model(
    text: tuple[Path, Path], load: Callable[..., TorchChat]
) -> None:
    folder, twin = text
    engine = load(folder, dtype="float32")
    reference = AutoModelForCausalLM.from_pretrained(twin, dtype=torch.float32).eval()
    for question in QUESTIONS:
        prompt = engine.prompt([{"role": "user", "content": question}], [])
        ids = torch.tensor([prompt.state.token_ids])
        expected = generated(reference, input_ids=ids, attention_mask=torch.ones_like(ids))
        assert generate(engine, prompt) == expected


def test_greedy_tokens_about_an_image(
    vision: tuple[Path, Path], load: Callable[..., TorchChat]
) -> None:
    folder, twin = vision
    engine = load(folder, dtype="float32", vision=True)
    reference = AutoModelForImageTextToText.from_pretrained(twin, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(twin)
    content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [{"role": "user", "content": content}]
    pixels = np.random.default_rng(3).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=[image], return_tensors="pt")
    assert generate(engine, engine.prompt(messages, [image])) == generated(reference, **inputs)


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_weights_in_bfloat16(request: pytest.FixtureRequest, kind: str) -> None:
    """Each weight is rounded once, from the product in float32."""
    folder, twin = request.getfixturevalue(kind)
    auto_class = AutoModelForCausalLM if kind == "text" else AutoModelForImageTextToText
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    model = ModelFolder.find(folder).load(auto_class, runtime, Dtype.AUTO)
    expected = auto_class.from_pretrained(twin, dtype=torch.bfloat16).state_dict()
    assert model.state_dict().keys() == expected.keys()
    for name, tensor in model.state_dict().items():
        assert tensor.dtype is torch.bfloat16
        assert torch.equal(tensor, expected[name]), name


def test_blocks_that_do_not_divide_a_matrix(text: tuple[Path, Path], tmp_path: Path) -> None:
    """320 rows are two blocks of 128 and one of 64, not three of 106."""
    folder = Path(shutil.copytree(text[0], tmp_path / "uneven"))
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name][:320].contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LoadError, match=r"up_proj.weight.*320 x 256.*3 x 2"):
        TorchChat(spec(), folder, 1)


def test_fp8_of_other_checkpoints(text: tuple[Path, Path]) -> None:
    with pytest.raises(LoadError, match=r"dtype is fp8.*cpu") as caught:
        TorchChat(spec(dtype="fp8"), text[0], 1)
    assert "auto" in str(caught.value.hint)
    with pytest.raises(LoadError, match="these weights are not"):
        TorchChat(spec(dtype="fp8"), text[1], 1)


@pytest.mark.parametrize(
    ("requested", "device", "capability", "kernels", "native", "reason"),
    [
        (Dtype.AUTO, "cuda", (8, 9), None, True, "8.9"),
        (Dtype.FP8, "cuda", (9, 0), None, True, "9.0"),
        (Dtype.AUTO, "cuda", (8, 6), None, False, "compute capability 8.6"),
        (Dtype.AUTO, "cuda", (9, 0), "no kernels", False, "no kernels"),
        (Dtype.AUTO, "cpu", None, None, False, "cpu"),
        (Dtype.AUTO, "mps", None, None, False, "mps"),
        (Dtype.BFLOAT16, "cuda", (9, 0), None, False, "bfloat16"),
        (Dtype.FLOAT32, "cpu", None, None, False, "float32"),
    ],
)
def test_native_or_dequantised(
    requested: Dtype,
    device: str,
    capability: tuple[int, int] | None,
    kernels: str | None,
    native: bool,
    reason: str,
) -> None:
    found = fp8.decide(requested, device, capability, lambda: kernels)
    assert found.native is native
    assert reason in found.reason


@pytest.mark.parametrize("capability", [None, (8, 0), (9, 0)])
def test_requested_fp8_is_not_replaced(capability: tuple[int, int] | None) -> None:
    with pytest.raises(LoadError, match="dtype is fp8"):
        fp8.decide(Dtype.FP8, "cuda" if capability else "cpu", capability, lambda: "no kernels")
