"""Chat and text completion through vLLM."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fleet_contract.errors import BadRequest
from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.guided.elsewhere import SourceFormat, in_source, source_compiler
from fleet_server.engines.hf_tokenizer import HfTokenizer
from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import (
    BIASED,
    BLOCKS,
    BOUNDED,
    GUIDED,
    SAMPLED,
    TAIL_TOKENS,
    Content,
    check_shown,
    rendered,
)
from fleet_server.engines.vllm import toolkit
from fleet_server.engines.vllm.adapters import lora_arguments
from fleet_server.engines.vllm.arguments import engine_arguments, environment, sequences
from fleet_server.engines.vllm.bounded import BoundedText
from fleet_server.engines.vllm.images import image_arguments, image_tokens, shown_images
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

if TYPE_CHECKING:
    from fleet_server.engines.vllm.engine_loop import EngineLoop

logger = logging.getLogger(__name__)

NONE: Mapping[str, Path] = MappingProxyType({})


class VllmChat:
    """A TextModel, TemplatedModel and GuidedModel (fleet_server.protocols). Raises LoadError."""

    supports = SAMPLED | GUIDED | BIASED | BOUNDED | BLOCKS | {"prompt_logprobs"}

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, adapters: Mapping[str, Path] = NONE,
        *, dtype: Dtype | None = None,
    ) -> None:  # fmt: skip
        """`dtype` is the number format to compute in, by default that of the spec."""
        self.adapters = tuple(adapters)
        self.device = spec.device
        kind = spec.device.partition(":")[0]
        self.max_concurrent = sequences(spec, kind)
        self._tokenizer = HfTokenizer(folder)
        self.chat_template = self._tokenizer.chat_template
        self.vocabulary = self._tokenizer.vocabulary
        self.vocab_size = _vocab_size(folder, self._tokenizer.size)
        self.decode = self._tokenizer.decode
        pieces = self._tokenizer.pieces
        self._specials = {pieces[index].decode(): index for index in self._tokenizer.special}
        self._special = SpecialText(self._specials)
        images = image_tokens(folder)
        if spec.vision and not images:
            raise LoadError(f"{spec.model} has `vision` set, but its files are of a text model.")
        self._reads_images = spec.vision
        self._image_tokens = images
        arguments = engine_arguments(
            spec, folder, kind, dtype=dtype or spec.dtype, seed=secrets.randbelow(1 << 31)
        )
        if images:
            arguments |= image_arguments(spec)
        os.environ.update(environment(spec.device, threads, os.environ))
        if kind == "cuda" and not toolkit.can_compile(os.environ):
            arguments |= toolkit.ARGUMENTS
            os.environ.update(toolkit.without_kernels(os.environ))
        self._loop = _started(arguments | lora_arguments(adapters, kind), spec, adapters)
        self.context_length = self._loop.context_length
        if spec.context_length is not None and self.context_length < spec.context_length:
            logger.warning(
                "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
                spec.model, spec.context_length, self.context_length,
            )  # fmt: skip
        self._compiler = source_compiler()

    def prompt(
        self,
        messages: Sequence[Message],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        text = self._rendered(messages, images, arguments)
        ending = text[-ENDING_CHARS:]
        ids: list[int] = []
        for part in text.split(SEAM):
            ids += self.vocabulary.encode(part, add_special=False)
        if images:
            return replace(self._with_images(ids, images), ending=ending)
        tail = ids[-TAIL_TOKENS:] if arguments.continues else ()
        return Prompt(len(ids), self._loop.of_tokens(ids), tail, ending, ids)

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text of a prompt. Raises BadRequest."""
        return self._rendered(messages, (), arguments)

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        """A prompt of the given tokens. Raises BadRequest for an image's tokens."""
        for token in self._image_tokens.intersection(token_ids):
            raise BadRequest(
                f"The prompt must not contain {self._tokenizer.pieces[token].decode()!r}, which "
                "represents an image.",
                param="prompt",
            )
        return Prompt(len(token_ids), self._loop.of_tokens(token_ids))

    def _rendered(
        self, messages: Sequence[Message], images: Sequence[Any], arguments: TemplateArguments
    ) -> str:
        content = _parts if self._reads_images else None
        return rendered(self._tokenizer, self._special, messages, images, arguments, content)

    def _with_images(self, ids: Sequence[int], images: Sequence[Any]) -> Prompt:
        number = len(images)
        # vLLM takes one without a placeholder for a defect of its own.
        check_shown(number, shown_images(ids, self._image_tokens, number))
        try:
            given = self._loop.with_images(ids, images)
        except ValueError as error:  # such as a strip one pixel high
            raise BadRequest(
                f"The model's processor refuses the images: {error}", param="messages"
            ) from error
        return Prompt(len(given["prompt_token_ids"]), given)

    def compile(self, wanted: OutputFormat) -> SourceFormat:
        """Raises BadRequest and QueueFull."""
        return in_source(self._compiler.compile(wanted), self._specials.get, wanted.param)

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        text = None
        if sampling.reasoning is not None:
            text = BoundedText(sampling, ReasoningLimit(sampling.reasoning, self.vocabulary))
        return self._loop.submit(prompt.state, sampling, emit, text)

    @property
    def healthy(self) -> bool:
        return self._loop.alive

    @property
    def cache_usage(self) -> float:
        return self._loop.cache_usage

    def close(self) -> None:
        self._compiler.close()
        self._loop.close()


def _started(
    arguments: dict[str, Any], spec: ModelSpec, adapters: Mapping[str, Path]
) -> EngineLoop:
    # Imported here, since vllm reads the environment that the constructor sets.
    from fleet_server.engines.vllm.engine_loop import EngineLoop

    try:
        return EngineLoop(arguments, adapters)
    except (RuntimeError, ValueError, OSError, NotImplementedError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise LoadError(
            f"vLLM cannot load {spec.model}: {reason}",
            "The log above has the engine's own messages.",
        ) from error


def _parts(content: Content) -> Content:
    """As it is: the template of a model that reads images takes parts."""
    return content


def _vocab_size(folder: Path, tokens: int) -> int:
    config = read_object(folder / "config.json")
    text = config.get("text_config")
    rows = (text if isinstance(text, dict) else config).get("vocab_size")
    return min(rows, tokens) if isinstance(rows, int) else tokens
