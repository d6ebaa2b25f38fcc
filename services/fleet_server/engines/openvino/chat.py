"""Chat on a CPU through OpenVINO GenAI's continuous-batching pipeline.

Reads GGUF and OpenVINO IR. Requests join and leave the running batch
at every step, equal prompt beginnings share their cache.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
from numpy.typing import NDArray

from fleet_contract.errors import BadRequest
from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.cpu import cpu_has_bf16
from fleet_server.engines.openvino import (
    chat_facts,
    chat_files,
    chat_tokenizer,
    kv_cache,
    unlocked,
)
from fleet_server.engines.openvino.chat_facts import ChatFacts
from fleet_server.engines.openvino.kv_cache import KvCache
from fleet_server.engines.openvino.properties import compile_properties
from fleet_server.engines.openvino.step_loop import Running, StepLoop
from fleet_server.load_error import LoadError
from fleet_server.protocols import Generation, Message, Prompt, Sampling, Step

logger = logging.getLogger(__name__)

DEFAULT_SEQUENCES = 32


class OpenVinoChat:
    """A TextModel (fleet_server.protocols)."""

    supports = frozenset({
        "seed", "presence_penalty", "frequency_penalty", "response_format", "json_schema",
    })  # fmt: skip

    def __init__(self, spec: ModelSpec, folder: Path, threads: int) -> None:
        self.max_concurrent = sequences(spec)
        self.device = "cpu"
        source = chat_files.find(folder)
        facts = chat_facts.read(source)
        cache = _cache(spec, facts)
        properties = compile_properties(spec.dtype, threads, cpu_has_bf16())
        self._pipeline = _open(source, _scheduler(spec, self.max_concurrent, cache), properties)
        self.context_length = _context(spec, facts, cache)
        self._tokenizer = chat_tokenizer.choose(source, self._pipeline.get_tokenizer())
        self.decode = self._tokenizer.decode
        self.vocabulary = self._tokenizer.vocabulary
        self.vocab_size = self._tokenizer.size
        config = self._pipeline.get_config()
        self._stop_ids = frozenset({*config.stop_token_ids, config.eos_token_id})
        self._loop = StepLoop(self._pipeline, unlocked.step_of(self._pipeline), self._stop_ids)

    def prompt(self, messages: Sequence[Message], images: Sequence[Any]) -> Prompt:
        if images:
            raise BadRequest("This model does not read images.", param="messages")
        history = [{**message, "content": _text(message["content"])} for message in messages]
        try:
            text = self._tokenizer.render(history)
        except TemplateRefusal as error:
            raise BadRequest(
                f"The model's chat template refuses these messages: {error}", param="messages"
            ) from error
        return self.prompt_of(self._tokenizer.encode(text))

    def prompt_of(self, token_ids: Sequence[int] | NDArray[np.int64]) -> Prompt:
        return Prompt(num_tokens=len(token_ids), state=np.array([token_ids], dtype=np.int64))

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        running = Running(openvino.Tensor(prompt.state), self._config(sampling), emit)
        self._loop.submit(running)
        return running

    @property
    def healthy(self) -> bool:
        return not self._loop.broken

    def close(self) -> None:
        self._loop.close()

    def _config(self, sampling: Sampling) -> Any:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = sampling.max_tokens
        config.stop_token_ids = set(self._stop_ids)
        config.presence_penalty = sampling.presence_penalty
        config.frequency_penalty = sampling.frequency_penalty
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            config.rng_seed = sampling.seed if sampling.seed is not None else _fresh_seed()
        grammar = sampling.grammar or (JSON_OBJECT if sampling.json_object else None)
        if grammar is not None:
            config.structured_output_config = openvino_genai.StructuredOutputConfig(grammar=grammar)
        return config


# RFC 8259 with at most one space or line break between tokens: a small model that may repeat white
# space for ever does. Schemas from clients come as grammars of our own making, because a schema
# that the grammar compiler refuses fails the step of every request in the batch.
JSON_OBJECT = r"""
root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (pair ("," ws pair)*)? "}"
pair ::= string ":" ws value ws
array ::= "[" ws (value ws ("," ws value ws)*)? "]"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" hex hex hex hex))* "\""
hex ::= [0-9a-fA-F]
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)?
ws ::= " "? | "\n" " "*
"""


def sequences(spec: ModelSpec) -> int:
    """Most answers in the batch. `limits.maxConcurrent` does not bound them: they share the one
    pass that runs at a time."""
    if not spec.batching.enabled:
        return 1
    return spec.batching.max_size or DEFAULT_SEQUENCES


def _fresh_seed() -> int:
    return int(np.random.default_rng().integers(2**31))


def _cache(spec: ModelSpec, facts: ChatFacts) -> KvCache | None:
    """The key/value cache of `cache.kvGib`, or None where the files do not tell its shape."""
    if facts.cache is None:
        logger.warning("%s: the cache is %s GiB of unknown length", spec.model, spec.cache.kv_gib)
        return None
    return kv_cache.fit(facts.cache, spec.cache.kv_gib, quantised=spec.dtype is not Dtype.FLOAT32)


def _context(spec: ModelSpec, facts: ChatFacts, cache: KvCache | None) -> int:
    """Most tokens of prompt and answer: what the model reads and the cache holds."""
    length = spec.context_length or facts.context_length
    if length is None:
        raise LoadError("No file says how long a conversation may be.", "Set `contextLength`.")
    if cache is not None and cache.tokens < length:
        logger.warning(
            "%s reads %d tokens, its cache holds %d: raise cache.kvGib (KV_CACHE_GIB) for more",
            spec.model, length, cache.tokens,
        )  # fmt: skip
        return cache.tokens
    return length


def _scheduler(spec: ModelSpec, max_concurrent: int, cache: KvCache | None) -> Any:
    config = openvino_genai.SchedulerConfig()
    if cache is None:
        config.cache_size = max(1, math.ceil(spec.cache.kv_gib))
    else:
        config.num_kv_blocks = cache.blocks
    config.max_num_seqs = max_concurrent
    config.enable_prefix_caching = spec.cache.prefix
    config.dynamic_split_fuse = True
    return config


def _open(source: Path, scheduler: Any, properties: dict[str, str]) -> Any:
    try:
        if source.is_dir():
            return _pipeline(source, scheduler, properties)
        writer = chat_files.IrWriter.beside(source)
        if writer is None:
            return _pipeline(source, scheduler, properties)
        try:
            tokenizer = openvino_genai.Tokenizer(writer.gguf, enable_save_ov_model=True)
            pipeline = openvino_genai.ContinuousBatchingPipeline(
                writer.gguf, tokenizer, scheduler, "CPU", **properties, enable_save_ov_model=True
            )
            writer.commit()
        finally:
            writer.abandon()
        return pipeline
    except (RuntimeError, IndexError, ValueError) as error:  # C++ exceptions as they come
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise LoadError(
            f"OpenVINO cannot load {source.name}: {reason}",
            "GGUF files of the Llama, Qwen2 and Qwen3 families and OpenVINO IR are supported.",
        ) from error


def _pipeline(source: Path, scheduler: Any, properties: dict[str, str]) -> Any:
    return openvino_genai.ContinuousBatchingPipeline(source, scheduler, "CPU", properties)


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content)
