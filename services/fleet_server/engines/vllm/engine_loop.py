"""The thread that runs vLLM's AsyncLLM, and the generations in it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import uvloop
from vllm import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import StatLoggerBase

from fleet_contract.errors import BadRequest, NotReady
from fleet_server.engines.vllm.bounded import BoundedText
from fleet_server.engines.vllm.guided import scheduler_name
from fleet_server.engines.vllm.sampling import parameters, step_of
from fleet_server.protocols import Sampling, Step

logger = logging.getLogger(__name__)

GONE = "The server is shutting down."
DEAD = "The engine's process has ended; the server restarts."
CLOSE_SECONDS = 30
"""Limit for the end of the engine's process, which vLLM kills after a few seconds."""

Emit = Callable[[Step], None]
EngineInput = Mapping[str, Any]
"""A prompt's tokens, `prompt_token_ids`, and the pixels of its images."""


class Running:
    """A generation; `start` and the task run in the loop's thread."""

    def __init__(
        self,
        loop: EngineLoop,
        given: EngineInput,
        sampling: Sampling,
        emit: Emit,
        text: BoundedText | None,
    ) -> None:
        self.given = given
        self.sampling = sampling
        self.emit = emit
        self.text = text
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None
        self._loop = loop

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._loop.cancel(self)


class CacheUsage(StatLoggerBase):  # type: ignore[misc]
    """The share of the key/value cache in use after the last step, 0..1."""

    def __init__(self, config: Any = None, engine_index: int = 0) -> None:
        self.share = 0.0

    def record(self, scheduler_stats: Any, *args: Any, **others: Any) -> None:
        if scheduler_stats is not None:
            self.share = scheduler_stats.kv_cache_usage

    def log_engine_initialized(self) -> None:
        """Required by the base class; there is nothing to log."""


class EngineLoop:
    """Starts the engine and waits until it is loaded. Raises what vLLM raises."""

    def __init__(self, arguments: dict[str, Any], adapters: Mapping[str, Path]) -> None:
        self._adapters = {
            name: LoRARequest(name, number, str(folder))
            for number, (name, folder) in enumerate(adapters.items(), start=1)
        }
        self._usage = CacheUsage()
        self._numbers = itertools.count()
        self._running: set[Running] = set()
        self._closing = False
        self._lock = threading.Lock()  # nothing starts after the loop has ended
        self._images = threading.Lock()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            self._engine: AsyncLLM = self._call(self._build(arguments))
        except BaseException:
            self._stop()
            raise
        self.context_length: int = self._engine.model_config.max_model_len

    @staticmethod
    def of_tokens(ids: Sequence[int]) -> EngineInput:
        """A prompt without images."""
        made: EngineInput = tokens_input(list(ids))
        return made

    @property
    def alive(self) -> bool:
        """False once the engine's process has ended."""
        return self._closing or not self._engine.errored

    @property
    def cache_usage(self) -> float:
        return self._usage.share if self._running else 0.0

    def with_images(self, ids: Sequence[int], images: Sequence[Any]) -> EngineInput:
        """A prompt with images, each of which has a placeholder in `ids`; in the result it has a
        token for each of its patches. Raises ValueError for images that the model refuses."""
        prompt = {"prompt_token_ids": list(ids), "multi_modal_data": {"image": list(images)}}
        try:
            with self._images:
                made: EngineInput = self._engine.renderer.process_for_engine(
                    prompt, time.time(), skip_mm_cache=True
                )
        except VLLMClientError as error:  # no ValueError
            raise ValueError(str(error)) from error
        return made

    def submit(
        self,
        given: EngineInput,
        sampling: Sampling,
        emit: Emit,
        text: BoundedText | None = None,
    ) -> Running:
        """Start a generation; `text` is that of one whose reasoning is bounded. Raises NotReady."""
        running = Running(self, given, sampling, emit, text)
        with self._lock:
            if self._closing:
                raise NotReady(GONE, retry_after=1)
            self._loop.call_soon_threadsafe(self._start, running)
        return running

    def cancel(self, running: Running) -> None:
        try:
            self._loop.call_soon_threadsafe(self._end, running)
        except RuntimeError:  # the loop is closed, and with it every generation
            return

    def close(self) -> None:
        """End all generations with an error step, and the engine's process."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._call(self._close())
        self._stop()

    async def _build(self, arguments: dict[str, Any]) -> AsyncLLM:
        config = AsyncEngineArgs(**arguments).create_engine_config()
        # vLLM then shortens the context to what the key/value cache holds, instead of failing.
        config.model_config.original_max_model_len = -1
        scheduler = config.scheduler_config
        scheduler.scheduler_cls = scheduler_name(is_async=bool(scheduler.async_scheduling))
        engine = AsyncLLM.from_vllm_config(
            config, disable_log_stats=True, stat_loggers=[lambda *_: self._usage]
        )
        try:
            for adapter in self._adapters.values():
                await engine.add_lora(adapter)
        except BaseException:
            engine.shutdown()
            raise
        return engine

    def _start(self, running: Running) -> None:
        if running.cancelled:
            return
        if self._closing:
            running.emit(Step((), error=NotReady(GONE, retry_after=1)))
            return
        self._running.add(running)
        running.task = self._loop.create_task(self._run(running))
        running.task.add_done_callback(lambda task: self._ended(running, task))

    def _end(self, running: Running) -> None:
        if running.task is not None:
            running.task.cancel()

    def _ended(self, running: Running, task: asyncio.Task[None]) -> None:
        """Not in `_run`, which does not begin in a task that was cancelled before."""
        self._running.discard(running)
        if task.cancelled() and not running.cancelled:
            running.emit(Step((), error=NotReady(GONE, retry_after=1)))

    async def _run(self, running: Running) -> None:
        try:
            if running.text is not None:
                await self._run_bounded(running, running.text)
                return
            ids = running.given["prompt_token_ids"]
            async for output in self._outputs(running, running.given, parameters(running.sampling)):
                running.emit(step_of(output, ids, running.sampling))
        except EngineDeadError:
            running.emit(Step((), error=NotReady(DEAD, retry_after=1)))
        except VLLMClientError as error:
            running.emit(Step((), error=BadRequest(str(error))))
        except Exception as error:
            logger.exception("a generation failed")
            running.emit(Step((), error=error))

    async def _run_bounded(self, running: Running, text: BoundedText) -> None:
        ids = running.given["prompt_token_ids"]
        while not text.ended:
            forced = text.forced
            if forced is not None and running.sampling.logprobs is None:
                running.emit(text.close())
                continue
            given = {**running.given, "prompt_token_ids": [*ids, *text.ids]}
            options = parameters(text.part(), text.ids, forced)
            async with aclosing(self._outputs(running, given, options)) as outputs:
                async for output in outputs:
                    running.emit(text.take(step_of(output, ids, running.sampling), forced))
                    if text.forced is not None or text.ended:
                        break

    def _outputs(
        self, running: Running, given: EngineInput, options: Any
    ) -> AsyncGenerator[Any, None]:
        """vLLM's generation; closing it aborts the request."""
        made: AsyncGenerator[Any, None] = self._engine.generate(
            given,
            options,
            str(next(self._numbers)),
            lora_request=self._adapters.get(running.sampling.adapter or ""),
        )
        return made

    async def _close(self) -> None:
        tasks = [running.task for running in self._running if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._engine.shutdown)
        del self._engine  # its finalizer fails while the interpreter ends

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
