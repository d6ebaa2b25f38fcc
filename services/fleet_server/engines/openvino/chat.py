"""Chat on a CPU or Intel GPU through OpenVINO GenAI's continuous batching, from GGUF or IR.

Sequences join and leave the running batch at every step; equal prompt prefixes share their cache.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
from numpy.typing import NDArray

from fleet_contract.spec import Dtype, ModelSpec
from fleet_contract.spec_parts import GIB
from fleet_server import memory
from fleet_server.caller import current_caller
from fleet_server.engines.guided.compiler import Grammar, GrammarCompiler, GuidedVocabulary
from fleet_server.engines.openvino import (
    chat_facts,
    chat_files,
    chat_tokenizer,
    guided_backend,
    kv_cache,
    step_loop,
    unlocked,
)
from fleet_server.engines.openvino.chat_facts import ChatFacts
from fleet_server.engines.openvino.kv_cache import KvCache
from fleet_server.engines.openvino.properties import compile_properties, plugin, shown_device
from fleet_server.engines.sampling.reasoning_limit import LimitedMasks, ReasoningLimit
from fleet_server.engines.sampling.token_sampler import TokenSampler
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import (
    BIASED,
    BLOCKS,
    BOUNDED,
    GUIDED,
    SAMPLED,
    TAIL_TOKENS,
    rendered,
)
from fleet_server.load_error import LoadError
from fleet_server.protocols import (
    ENDING_CHARS,
    NO_ARGUMENTS,
    Generation,
    Message,
    OutputFormat,
    Prompt,
    Sampling,
    Step,
    TemplateArguments,
)
from fleet_weights import record

logger = logging.getLogger(__name__)

DEFAULT_SEQUENCES = 32
"""Sequences in the batch unless `batching.maxSize` is set."""
GENERATION_CONFIG = "generation_config.json"
RELEASED_BYTES = 64 << 20
"""Size of the filled part of a cache from which on it is worth opening the pipeline again."""


class OpenVinoChat:
    """A TextModel (fleet_server.protocols)."""

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        self.max_concurrent = sequences(spec)
        self.device = shown_device(spec.device)
        source = chat_files.find(folder)
        facts = chat_facts.read(source)
        self._cache = cache = _cache(spec, facts, self.max_concurrent)
        exact = spec.dtype is Dtype.FLOAT32
        properties: dict[str, Any] = dict(
            compile_properties(dtype or spec.dtype, threads, self.device, exact=exact)
        )
        self._speculative = spec.speculative
        # GenAI's prefix cache keeps the blocks of guesses that were wrong, with the keys and values
        # of what followed instead; another text with these tokens would get them.
        self._prefix = spec.cache.prefix and not spec.speculative.prompt_lookup
        if spec.speculative.prompt_lookup:
            properties["prompt_lookup"] = True
        # On a GPU the size of a block is GenAI's choice, so the cache is bounded in bytes.
        blocks = cache if self.device == "cpu" else None
        scheduler = _scheduler(spec, self.max_concurrent, blocks, prefix=self._prefix)

        def reopen() -> Any:
            return _open(chat_files.find(folder), scheduler, plugin(self.device), properties)

        self._reopen = reopen
        pipeline = reopen()
        self.context_length = _context(spec, facts, cache)
        self._tokenizer = chat_tokenizer.choose(source, pipeline.get_tokenizer())
        self.chat_template = self._tokenizer.chat_template
        self.decode = self._tokenizer.decode
        self.vocabulary = self._tokenizer.vocabulary
        self.vocab_size = self._tokenizer.size
        self._special = SpecialText(
            self._tokenizer.pieces[index].decode() for index in self._tokenizer.special
        )
        self._stop_ids = _stop_ids(pipeline, source)
        step, self._guided = self._checked(pipeline)
        self._compiler = GrammarCompiler(self._tokens())
        masked = GUIDED | BIASED | BOUNDED | BLOCKS
        self.supports = SAMPLED if self._guided is None else SAMPLED | masked
        self._loop = step_loop.StepLoop(pipeline, step, self._stop_ids, self._new_config)

    def prompt(
        self,
        messages: Sequence[Message],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        text = rendered(self._tokenizer, self._special, messages, images, arguments)
        parts = [self._tokenizer.encode(part) for part in text.split(SEAM)]
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        tail = ids[-TAIL_TOKENS:].tolist() if arguments.continues else ()
        prompt = self.prompt_of(ids)
        return replace(prompt, ending=text[-ENDING_CHARS:], tail=tail, token_ids=ids)

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text of a prompt. Raises BadRequest."""
        return rendered(self._tokenizer, self._special, messages, (), arguments)

    def prompt_of(self, token_ids: Sequence[int] | NDArray[np.int64]) -> Prompt:
        return Prompt(num_tokens=len(token_ids), state=np.array([token_ids], dtype=np.int64))

    def compile(self, wanted: OutputFormat) -> Grammar:
        """Raises BadRequest and QueueFull."""
        return self._compiler.compile(wanted)

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        ids = prompt.state
        guide = self._guide(sampling, ids[0])
        config = self._config(sampling, sampled=guide is not None and guide.samples)
        sequence = step_loop.Sequence(
            openvino.Tensor(ids), config, emit, guide, num_tokens=prompt.num_tokens,
            beginning=(lambda end: openvino.Tensor(ids[:, :end].copy())) if self._prefix else None,
            caller=current_caller(),
        )  # fmt: skip
        self._loop.submit(sequence)
        return sequence

    @property
    def healthy(self) -> bool:
        return not self._loop.broken

    @property
    def cache_usage(self) -> float:
        return self._loop.cache_usage

    def release(self) -> None:
        """Open the pipeline again if its cache has grown: its memory is returned in no other way.
        Requests that come meanwhile wait for a second or two."""
        tokens = self._loop.computed_tokens
        if self._cache is not None and self._cache.bytes_of(tokens) > RELEASED_BYTES:
            self._loop.replace(self._opened)

    def close(self) -> None:
        self._loop.close()
        self._compiler.close()

    def _opened(self) -> tuple[Any, Callable[[], None]]:
        pipeline = self._reopen()
        return pipeline, self._checked(pipeline)[0]

    def _checked(self, pipeline: Any) -> tuple[Callable[[], None], guided_backend.Backend | None]:
        """The function that steps a new pipeline, and the backend that it masks tokens with."""
        step = unlocked.step_of(pipeline)
        return step, guided_backend.registered(pipeline, step, self._new_config())

    def _guide(self, sampling: Sampling, ids: NDArray[np.int64]) -> step_loop.Guide | None:
        if self._guided is None:
            return None
        masks: guided_backend.TokenMasks | None = None
        if sampling.grammar is not None:
            masks = sampling.grammar.start()
        if sampling.reasoning is not None:
            masks = LimitedMasks(ReasoningLimit(sampling.reasoning, self.vocabulary), masks)
        if _is_native(sampling):
            return None if masks is None else step_loop.Guide(self._guided, masks)
        sampler = TokenSampler(sampling, ids.tolist(), masks)
        return step_loop.Guide(self._guided, sampler, sampler)

    def _config(self, sampling: Sampling, *, sampled: bool) -> Any:
        """GenAI's options; greedy for a sequence whose tokens are `sampled` by a TokenSampler."""
        config = self._new_config()
        config.max_new_tokens = sampling.max_tokens
        config.stop_token_ids = set(self._stop_ids)
        if sampled:
            return config
        config.repetition_penalty = sampling.repetition_penalty
        config.presence_penalty = sampling.presence_penalty
        config.frequency_penalty = sampling.frequency_penalty
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            config.min_p = sampling.min_p
            if sampling.top_k:
                config.top_k = sampling.top_k
            # GenAI's default is always 0: all requests would sample the same way.
            config.rng_seed = sampling.seed if sampling.seed is not None else _fresh_seed()
        return config

    def _new_config(self) -> Any:
        """With what a speculating pipeline requires of every request."""
        config = openvino_genai.GenerationConfig()
        if self._speculative.prompt_lookup:
            config.num_assistant_tokens = self._speculative.tokens
            config.max_ngram_size = self._speculative.ngram
        return config

    def _tokens(self) -> GuidedVocabulary:
        tokenizer = self._tokenizer
        return GuidedVocabulary(
            pieces=[tokenizer.pieces.get(index, b"") for index in range(tokenizer.size)],
            special=tokenizer.special,
            stop_ids=sorted(index for index in self._stop_ids if 0 <= index < tokenizer.size),
            encode=tokenizer.encode,
        )


def _stop_ids(pipeline: Any, source: Path) -> frozenset[int]:
    """Ids that end a generation: of the pipeline's configuration, which is empty in one that
    speculates, else of generation_config.json or the tokenizer."""
    configs = [pipeline.get_config()]
    if configs[0].eos_token_id < 0 and (source / GENERATION_CONFIG).is_file():
        configs.append(openvino_genai.GenerationConfig(source / GENERATION_CONFIG))
    found = {each for config in configs for each in (*config.stop_token_ids, config.eos_token_id)}
    stop_ids = frozenset(each for each in found if each >= 0)
    return stop_ids or frozenset({pipeline.get_tokenizer().get_eos_token_id()})


def sequences(spec: ModelSpec) -> int:
    """Maximum number of sequences in the batch. `limits.maxConcurrent` counts passes, and all
    sequences share one."""
    if not spec.batching.enabled:
        return 1
    return spec.batching.max_size or DEFAULT_SEQUENCES


def _is_native(sampling: Sampling) -> bool:
    """Whether GenAI samples: it has no bias and no list of probabilities, and its draws from a seed
    depend on the batch."""
    seeded = sampling.seed is not None and sampling.temperature > 0
    return not (seeded or sampling.logit_bias or sampling.logprobs is not None)


def _fresh_seed() -> int:
    return int(np.random.default_rng().integers(2**31))


def _cache(spec: ModelSpec, facts: ChatFacts, sequences: int) -> KvCache | None:
    """The key/value cache of `cache.kvGib`, or None if the files do not give its shape."""
    if facts.cache is None:
        logger.warning(
            "%s: the key/value cache is %s GiB; how many tokens fit is unknown",
            spec.model, spec.cache.kv_bytes / GIB,
        )  # fmt: skip
        return None
    context = spec.context_length or facts.context_length
    return kv_cache.fit(facts.cache, spec, sequences, context)


def _context(spec: ModelSpec, facts: ChatFacts, cache: KvCache | None) -> int:
    """Maximum tokens of prompt and generated text: the model's context, within the cache."""
    length = spec.context_length or facts.context_length
    if length is None:
        raise LoadError("The model's files give no context length.", "Set `contextLength`.")
    if cache is not None and cache.tokens < length:
        logger.warning(
            "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
            spec.model, length, cache.tokens,
        )  # fmt: skip
        return cache.tokens
    return length


def _scheduler(spec: ModelSpec, max_concurrent: int, cache: KvCache | None, *, prefix: bool) -> Any:
    config = openvino_genai.SchedulerConfig()
    if cache is None:
        config.cache_size = max(1, math.ceil(spec.cache.kv_bytes / GIB))
    else:
        config.num_kv_blocks = cache.blocks
    config.max_num_seqs = max_concurrent
    config.enable_prefix_caching = prefix
    # Long prompts are prefilled in parts, between the tokens of running sequences.
    config.dynamic_split_fuse = True
    return config


def _open(source: Path, scheduler: Any, device: str, properties: dict[str, Any]) -> Any:
    try:
        if source.is_dir():
            return _pipeline(source, scheduler, device, properties)
        writer = chat_files.IrWriter.create(source)
        if writer is None:
            return _pipeline(source, scheduler, device, properties)
        try:
            tokenizer = openvino_genai.Tokenizer(writer.gguf, enable_save_ov_model=True)
            pipeline = openvino_genai.ContinuousBatchingPipeline(
                writer.gguf, tokenizer, scheduler, device, **properties, enable_save_ov_model=True
            )
            writer.commit()
        finally:
            writer.abandon()
        if not chat_files.is_ir(source.parent / chat_files.IR_FOLDER):
            return pipeline
        # The pipeline of the GGUF holds 80 MB more than one of the IR, which is mapped.
        del pipeline, tokenizer
        memory.trim()
        return _pipeline(source.parent / chat_files.IR_FOLDER, scheduler, device, properties)
    except (RuntimeError, IndexError, ValueError) as error:  # types of GenAI's C++ exceptions
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        if source.is_dir():
            raise _unreadable_ir(source, reason) from error
        raise LoadError(
            f"OpenVINO cannot load {source.name}: {reason}",
            "GGUF files of the Llama, Qwen2 and Qwen3 families and OpenVINO IR are supported.",
        ) from error


def _unreadable_ir(folder: Path, reason: str) -> LoadError:
    """The error for an IR that does not load, naming the damaged file where that can be found."""
    what = record.damage(folder)
    if what is None:
        try:
            openvino.Core().read_model(folder / "openvino_model.xml")
        except RuntimeError:
            # The graph refers to offsets in the weights, so either file may be the damaged one.
            what = "openvino_model.xml or openvino_model.bin is damaged"
    message = f"OpenVINO cannot load {folder}: {f'{what} ({reason})' if what else reason}."
    if (folder / record.RECORD).is_file():
        again = "`modelfleet pull` or the next start fetches or converts the model again."
    elif folder.name == chat_files.IR_FOLDER:
        again = "the next start writes it again from the GGUF file."
    else:
        return LoadError(message, "Copy or export the model again.")
    return LoadError(message, f"Delete the folder; {again}")


def _pipeline(source: Path, scheduler: Any, device: str, properties: dict[str, Any]) -> Any:
    return openvino_genai.ContinuousBatchingPipeline(source, scheduler, device, properties)
