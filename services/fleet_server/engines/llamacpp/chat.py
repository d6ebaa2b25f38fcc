"""Chat and text completion of any GGUF through llama.cpp."""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_prepare import gguf_head
from fleet_server.caller import current_caller
from fleet_server.engines.chat_template import ChatTemplate
from fleet_server.engines.guided.elsewhere import SourceFormat, in_source, source_compiler
from fleet_server.engines.llamacpp import reasoning, speculation
from fleet_server.engines.llamacpp.adapters import lora
from fleet_server.engines.llamacpp.cache import KvCache, files_of, projector_of
from fleet_server.engines.llamacpp.followed import followed
from fleet_server.engines.llamacpp.generation import Running, Scheduler
from fleet_server.engines.llamacpp.images import MOST_PIXELS, ImagePrompt, ImageReader
from fleet_server.engines.llamacpp.parameters import shared
from fleet_server.engines.llamacpp.server import EmbeddedServer
from fleet_server.engines.llamacpp.slices import IdleCaches, PromptTurns, SlicedPrompt
from fleet_server.engines.llamacpp.steps import StepReader
from fleet_server.engines.llamacpp.vocabulary import BPE, LlamaVocabulary
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import BIASED, BOUNDED, GUIDED, SAMPLED, rendered
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

logger = logging.getLogger(__name__)

NONE: Mapping[str, Path] = MappingProxyType({})
DEFAULT_SEQUENCES = 16
PREFILL = 512
"""Maximum number of prompt tokens of a pass, which running sequences and cancellations wait for."""
COMPILING_SECONDS = 0.5
"""Processor time of a format in all sequences of a request. llama.cpp compiles it again for each of
them, while no other goes on."""
SHORTEST_SECONDS = 1e-6
MARKS = re.compile(r"tool|think|call|function|channel|reason", re.IGNORECASE)
"""Control tokens that stay in the text, such as `[TOOL_CALLS]`: what they mark is parsed later."""
LLGUIDANCE = "%llguidance {}"
"""The first line of a grammar that llama.cpp passes to llguidance."""
OTHER_CONNECTIONS = 8
"""HTTP threads for templates and tokens besides one for each sequence; more requests wait."""
MOST_TOP_K = (1 << 31) - 1
"""llama.cpp reads it as an int, and drops the upper bits of a larger one."""
SEEDS = (1 << 32) - 1
"""llama.cpp's seeds have 32 bits; the last one means a random seed."""


class LlamaChat:
    """A TextModel, TemplatedModel and GuidedModel (fleet_server.protocols). Raises LoadError."""

    emits_text = True
    most_pixels = MOST_PIXELS

    def __init__(
        self,
        spec: ModelSpec,
        folder: Path,
        threads: int,
        adapters: Mapping[str, Path] = NONE,
        draft: Path | None = None,
    ) -> None:
        path = files_of(folder)
        self.device = spec.device
        self.max_concurrent = sequences(spec)
        self.supports = supports(spec)
        drafter = None if draft is None else files_of(draft)
        drafter_found = None if drafter is None else _metadata(drafter)
        found = _metadata(path)
        self._guesses = spec.speculative.tokens + 1 if spec.speculative.wanted else 0
        cache = KvCache.fit(found, spec, self.max_concurrent, drafter_found, self._guesses)
        self.context_length = cache.context_length
        self._prefix = spec.cache.prefix
        params = parameters_of(path, spec, cache, self.max_concurrent, threads)
        speculation.add(params, spec, drafter)
        if spec.vision:
            params.mmproj.path = str(_projector(path, spec))
            params.mmproj_use_gpu = spec.device not in ("auto", "cpu")
        self.adapters = tuple(adapters)
        params.lora_init_without_apply = True
        with ExitStack() as unless_loaded:
            # Until the end: llama.cpp reads the adapters again whenever it loads the model again.
            self._converted = tempfile.TemporaryDirectory(prefix="modelfleet-lora-")
            unless_loaded.callback(self._converted.cleanup)
            scratch = Path(self._converted.name)
            params.lora_adapters = [
                lora(name, where, found, scratch) for name, where in adapters.items()
            ]
            self._server = EmbeddedServer(params)
            unless_loaded.pop_all()
        model = self._server.get("/v1/models")["data"][0]["meta"]
        self.vocab_size: int = model["n_vocab"]
        special = gguf_head.control_tokens(path)
        self.vocabulary = LlamaVocabulary(
            self._server, self.vocab_size, model["vocab_type"], special
        )
        # For other kinds llama.cpp's masks see a token without its first space: texts that they
        # allow have spaces that the format does not.
        self._is_followed = model["vocab_type"] == BPE
        self._control = special
        self._control_ids = frozenset(special.values())
        props = self._server.get("/props")
        self._begin: str = props["bos_token"]
        self.chat_template: str = props["chat_template"]
        self._template = ChatTemplate(
            self.chat_template, {"bos_token": self._begin, "eos_token": props["eos_token"]}
        )
        self._images: ImageReader | None = None
        if spec.vision:
            self._images = ImageReader(self._server, self.vocabulary, self._template, props)
        markers = [] if self._images is None else [self._images.marker]
        self._special = SpecialText([*special, *markers])
        self._visible = [text for text in special if MARKS.search(text)]
        self._compiler = source_compiler(COMPILING_SECONDS)
        self._caches = IdleCaches(self.max_concurrent)
        self._slice: int = params.n_batch
        self._turns = PromptTurns()
        self._scheduler = Scheduler(self._server, cache.tokens, self.max_concurrent)

    def prompt(
        self,
        messages: Sequence[Message],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        if images and self._images is not None:
            text = rendered(
                self._template, self._special, messages, images, arguments, self._images.content
            )
            made = self._images.prompt(text, images)
            return Prompt(len(made), made, ending=text[-ENDING_CHARS:])
        text = rendered(self._template, self._special, messages, images, arguments)
        begun = bool(self._begin) and text.startswith(self._begin)
        ids = self.vocabulary.encode_parts(text.split(SEAM), add_special=not begun)
        return replace(self.prompt_of(ids), ending=text[-ENDING_CHARS:], token_ids=ids)

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text of a prompt. Raises BadRequest."""
        return rendered(self._template, self._special, messages, (), arguments)

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        return Prompt(num_tokens=len(token_ids), state=list(token_ids))

    def compile(self, wanted: OutputFormat) -> SourceFormat:
        """Raises BadRequest and QueueFull."""
        # llama.cpp generates without a grammar where llguidance refuses it, so it is tried before.
        grammar = self._compiler.compile(wanted)
        most = int(COMPILING_SECONDS / max(grammar.cpu_seconds, SHORTEST_SECONDS))
        return in_source(grammar, self._special_id, wanted.param, max(1, most))

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        body = completion(
            prompt.state, sampling, cache_prompt=self._prefix, control=self._control_ids
        )
        body["preserved_tokens"] = self._visible
        if self.adapters:
            body["lora"] = [
                {"id": number, "scale": 1.0 if name == sampling.adapter else 0.0}
                for number, name in enumerate(self.adapters)
            ]
        check = followed(sampling.grammar) if self._is_followed else None
        steps = StepReader(self.vocabulary, sampling.logprobs, check)
        tokens = prompt.num_tokens + sampling.max_tokens + self._guesses
        sliced = SlicedPrompt(
            body, prompt.num_tokens, sampling.adapter, self._caches, self._turns, self._slice
        )
        running = Running(body, tokens, emit, steps, sliced, current_caller())
        self._scheduler.submit(running)
        return running

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.vocabulary.decode(token_ids)

    def _special_id(self, text: str) -> int | None:
        return self._control.get(text)

    @property
    def healthy(self) -> bool:
        return not self._server.lost

    @property
    def cache_usage(self) -> float:
        return self._scheduler.cache_usage

    @property
    def may_unmap(self) -> bool:
        return self._server.may_unmap

    def release(self) -> None:
        self._server.release()

    def close(self) -> None:
        self._scheduler.close()
        self._compiler.close()
        self._server.close()
        self._converted.cleanup()


def supports(spec: ModelSpec) -> frozenset[str]:
    """What a model supports (ChatModel.supports): without `logprobs` if it is to speculate, since
    llama.cpp gives each guess that it accepts the probability 1."""
    found = SAMPLED | GUIDED | BIASED | BOUNDED
    return found - {"logprobs"} if spec.speculative.wanted else found


def sequences(spec: ModelSpec) -> int:
    """Maximum number of sequences in the batch."""
    if not spec.batching.enabled:
        return 1
    return spec.batching.max_size or DEFAULT_SEQUENCES


def completion(
    prompt: Sequence[int] | ImagePrompt,
    sampling: Sampling,
    *,
    cache_prompt: bool,
    control: Set[int] = frozenset(),
) -> dict[str, Any]:
    """The body of POST /completion for token ids, or for a text with images; `control` are the ids
    of control tokens."""
    body: dict[str, Any] = {
        "prompt": prompt.wire() if isinstance(prompt, ImagePrompt) else list(prompt),
        "stream": True, "cache_prompt": cache_prompt,
        # A first event before the prompt is computed: a closed connection is noticed at the next.
        "return_progress": True,
        "n_predict": sampling.max_tokens, "temperature": sampling.temperature,
        "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
        "top_k": min(sampling.top_k, MOST_TOP_K), "top_p": sampling.top_p, "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": len(prompt) + sampling.max_tokens,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": secrets.randbelow(SEEDS) if sampling.seed is None else sampling.seed % SEEDS,
    }  # fmt: skip
    if sampling.temperature == 0:
        # With one candidate, nothing is computed for the others of the vocabulary.
        body |= {"samplers": ["penalties", "top_k", "temperature"], "top_k": 1}
    if sampling.grammar is not None:
        body["grammar"] = f"{LLGUIDANCE}\n{sampling.grammar.source}"
    ids = prompt.token_ids if isinstance(prompt, ImagePrompt) else prompt
    if bias := _bias(ids, sampling, control):
        body["logit_bias"] = list(bias.items())
    if sampling.logprobs is not None:
        body["n_probs"] = max(1, sampling.logprobs)
    if sampling.reasoning is not None:
        body |= reasoning.fields(sampling.reasoning, sampling.max_tokens)
    return body


def _bias(token_ids: Sequence[int], sampling: Sampling, control: Set[int]) -> Mapping[int, float]:
    """The bias of tokens, by their ids.

    llama.cpp's penalties count the prompt too: its tokens get back what the frequency penalty takes
    off. The same for presence would leave them without that penalty once they are generated, so
    only control tokens get it back, among them the one that ends a text.
    """
    presence, frequency = sampling.presence_penalty, sampling.frequency_penalty
    if presence == frequency == 0:
        return sampling.logit_bias
    found = dict(sampling.logit_bias)
    for token, number in Counter(token_ids).items():
        # llama.cpp divides positive logits by the penalty of repetition after it has added these.
        back = number * frequency + (presence if token in control else 0.0)
        found[token] = found.get(token, 0.0) + back * sampling.repetition_penalty
    return found


def _metadata(path: Path) -> Mapping[str, gguf_head.Value]:
    found = gguf_head.metadata(path)
    if found is None:
        raise LoadError(f"{path.name} is not a GGUF file.", "Fetch the model again.")
    return found


def _projector(path: Path, spec: ModelSpec) -> Path:
    found = projector_of(path)
    if found is None:
        raise LoadError(
            f"{spec.model} has `vision` set, but there is no image projector (a GGUF file "
            f"mmproj-…) beside {path.name}.",
            "Name a repository or folder that has one in `source`.",
        )
    return found


def parameters_of(path: Path, spec: ModelSpec, cache: KvCache, at_once: int, threads: int) -> Any:
    """The `CommonParams` of a chat model, without adapters, projector and draft model."""
    params = shared(path, spec, threads)
    params.n_parallel = at_once
    params.n_ctx = cache.tokens
    params.n_batch = params.n_ubatch = min(PREFILL, spec.batching.max_tokens)
    params.n_threads_http = at_once + OTHER_CONNECTIONS
    params.sampling.generation_prompt = reasoning.BEGUN
    return params
