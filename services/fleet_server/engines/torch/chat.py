"""TorchChat: chat with text and images on transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from fleet_contract.errors import UnsupportedParameter
from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.caller import current_caller
from fleet_server.engines.encoder_files.vocabulary import LibraryVocabulary
from fleet_server.engines.guided.compiler import Grammar
from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.engines.text_chat import BIASED, BLOCKS, BOUNDED, GUIDED, SAMPLED
from fleet_server.engines.torch import guide, sequence
from fleet_server.engines.torch.checkpoint import ModelFolder
from fleet_server.engines.torch.conversation import Conversation
from fleet_server.engines.torch.forward import ForwardPass
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.engines.torch.sampler import Sampler
from fleet_server.engines.torch.scheduler import StepLimits
from fleet_server.engines.torch.step_loop import StepLoop
from fleet_server.load_error import LoadError
from fleet_server.protocols import (
    NO_ARGUMENTS,
    Generation,
    Message,
    OutputFormat,
    Prompt,
    Sampling,
    Step,
    TemplateArguments,
    Vocabulary,
)

logger = logging.getLogger(__name__)

ROWS = {"cpu": 8}
MORE_ROWS = 32
"""Sequences in the batch unless `batching.maxSize` is set; MORE_ROWS on other devices."""
PREFILL = {"cpu": 512}
MORE_PREFILL = 2048
"""Maximum prompt tokens prefilled between two tokens of the running sequences, which wait."""
FREE_SHARE = 0.4
"""Share of the GPU's free memory after loading that the key/value cache may use."""


class TorchChat:
    """A TextModel (fleet_server.protocols). Raises LoadError for files it cannot serve."""

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        checkpoint = ModelFolder.find(folder)
        multimodal = "vision_config" in checkpoint.config
        if spec.vision and not multimodal:
            raise LoadError(f"{spec.model} has `vision` set, but its files are of a text model.")
        runtime = Runtime.start(
            spec, threads, checkpoint.stored_dtype, float16=checkpoint.fits_float16,
            dtype=dtype,
        )  # fmt: skip
        self._runtime = runtime
        self._conversation = Conversation(checkpoint, multimodal=multimodal)
        auto_class = AutoModelForImageTextToText if multimodal else AutoModelForCausalLM
        self.chat_template = self._conversation.chat_template
        self.vocabulary = _vocabulary(self._conversation.tokenizer)
        model = checkpoint.load(auto_class, runtime, spec.dtype)
        self.vocab_size = _vocab_size(self.vocabulary, model)
        forward = ForwardPass(model)
        bounds = _bounds(spec, forward)
        self.device = str(runtime.device)
        self.dtype = str(runtime.dtype).removeprefix("torch.")
        self.context_length = _context_length(spec, model.config, bounds.kv_tokens)
        self.max_concurrent = bounds.rows
        self._random = torch.Generator(runtime.device)
        self._random.seed()
        stop_ids = self._stop_ids(model)
        self._compiler = guide.compiler(folder, self.vocabulary, self.vocab_size, stop_ids)
        self.supports = SAMPLED if self._compiler is None else SAMPLED | GUIDED
        if self.vocabulary is not None:
            self.supports |= BIASED | BOUNDED | BLOCKS
        if self.vocabulary is not None and forward.can_batch:
            self.supports |= {"prompt_logprobs"}
        self._loop = StepLoop(forward, runtime, bounds, stop_ids)

    def prompt(
        self,
        messages: Sequence[Message],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        """Apply the chat template and tokenise. Raises BadRequest."""
        return self._conversation.prompt(messages, images, arguments)

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text of a prompt. Raises BadRequest."""
        return self._conversation.render(messages, arguments)

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        """A prompt of the given tokens. Raises BadRequest for an image's tokens."""
        return self._conversation.prompt_of(token_ids)

    def compile(self, wanted: OutputFormat) -> Grammar:
        """Raises BadRequest and QueueFull."""
        if self._compiler is None:
            raise UnsupportedParameter(
                "The tokenizer of this model does not support schemas.", param=wanted.param
            )
        return self._compiler.compile(wanted)

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        limit: ReasoningLimit | None = None
        if sampling.reasoning is not None and self.vocabulary is not None:
            limit = ReasoningLimit(sampling.reasoning, self.vocabulary)
        sampler = Sampler(sampling, self._random, prompt.state.token_ids, limit)
        row = sequence.Sequence(prompt.state, sampling, sampler, emit, current_caller())
        self._loop.submit(row)
        return row

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text without special tokens."""
        return self._conversation.decode(token_ids)

    @property
    def healthy(self) -> bool:
        return not self._loop.broken

    @property
    def cache_usage(self) -> float:
        return self._loop.cache_usage

    def release(self) -> None:
        """Return blocks that the allocator of a GPU keeps; the batch's cache ends with its rows."""
        self._runtime.free_memory()

    def close(self) -> None:
        self._loop.close()
        if self._compiler is not None:
            self._compiler.close()

    def _stop_ids(self, model: Any) -> frozenset[int]:
        named = (
            model.generation_config.eos_token_id,
            model.config.get_text_config().eos_token_id,
            self._conversation.tokenizer.eos_token_id,
        )
        lists = [value if isinstance(value, list) else [value] for value in named]
        return frozenset(entry for each in lists for entry in each if entry is not None)


def _vocabulary(tokenizer: Any) -> LibraryVocabulary | None:
    """None for a tokenizer implemented in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    backend.no_truncation()  # tokenizer.json may enable both
    backend.no_padding()
    return LibraryVocabulary(backend)


def _vocab_size(vocabulary: Vocabulary | None, model: Any) -> int:
    rows: int = model.get_input_embeddings().num_embeddings
    return rows if vocabulary is None else min(rows, vocabulary.size)


def _bounds(spec: ModelSpec, forward: ForwardPass) -> StepLimits:
    device = forward.device
    rows = spec.batching.max_size or ROWS.get(device.type, MORE_ROWS)
    if not (spec.batching.enabled and forward.can_batch):
        rows = 1
    kv_bytes: float = spec.cache.kv_bytes
    if device.type == "cuda":
        kv_bytes = max(kv_bytes, FREE_SHARE * torch.cuda.mem_get_info(device)[0])
    return StepLimits(
        rows=rows,
        prefill=min(PREFILL.get(device.type, MORE_PREFILL), spec.batching.max_tokens),
        kv_tokens=int(kv_bytes / forward.bytes_per_token()),
        images_share=spec.batching.allow_vision,
    )


def _context_length(spec: ModelSpec, config: Any, kv_tokens: int) -> int:
    """That of the spec, or what the model supports and the cache of `kv_tokens` holds."""
    own: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    length = spec.context_length or own
    if length is None:
        raise LoadError("The model's files give no context length.", "Set `contextLength`.")
    if own is not None and length > own:
        raise LoadError(f"contextLength is {length}; this model supports {own}.")
    if kv_tokens < length:
        logger.warning(
            "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
            spec.model, length, kv_tokens,
        )  # fmt: skip
        if spec.context_length is None:
            return max(kv_tokens, 1)
    return length
