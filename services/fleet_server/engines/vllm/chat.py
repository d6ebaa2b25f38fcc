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

from fleet_contract.spec import ModelSpec
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.engines.guided.elsewhere import SourceFormat, source_compiler
from fleet_server.engines.hf_tokenizer import HfTokenizer
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import BIASED, GUIDED, SAMPLED, TAIL_TOKENS, rendered
from fleet_server.engines.vllm.adapters import lora_arguments
from fleet_server.engines.vllm.arguments import engine_arguments, environment, sequences
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

    supports = SAMPLED | GUIDED | BIASED | {"prompt_logprobs"}

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, adapters: Mapping[str, Path] = NONE
    ) -> None:
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
        if adapters and kind == "cpu":
            raise LoadError(
                "Adapters are not supported by `engine: vllm` on a CPU.",
                "Use `engine: llamacpp` with adapters in GGUF.",
            )
        arguments = engine_arguments(spec, folder, kind, secrets.randbelow(1 << 31))
        os.environ.update(environment(spec.device, threads, os.environ))
        self._loop = _started(arguments | lora_arguments(adapters), spec, adapters)
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
        text = rendered(self._tokenizer, self._special, messages, images, arguments)
        ids: list[int] = []
        for part in text.split(SEAM):
            ids += self.vocabulary.encode(part, add_special=False)
        tail = ids[-TAIL_TOKENS:] if arguments.continues else ()
        return replace(self.prompt_of(ids), tail=tail, ending=text[-ENDING_CHARS:])

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        return Prompt(num_tokens=len(token_ids), state=list(token_ids))

    def compile(self, wanted: OutputFormat) -> SourceFormat:
        """Raises BadRequest and QueueFull."""
        # vLLM compiles it again when the generation starts, without a limit.
        grammar = self._compiler.compile(wanted)
        return SourceFormat(grammar.plan.text(self._specials.get), grammar.unenforced)

    def submit(
        self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]
    ) -> Generation:
        return self._loop.submit(prompt.state, sampling, emit)

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


def _vocab_size(folder: Path, tokens: int) -> int:
    config = read_object(folder / "config.json")
    text = config.get("text_config")
    rows = (text if isinstance(text, dict) else config).get("vocab_size")
    return min(rows, tokens) if isinstance(rows, int) else tokens
