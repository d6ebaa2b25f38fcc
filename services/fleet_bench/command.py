"""`modelfleet bench embeddings|chat|audio|compare`: measure OpenAI-compatible addresses."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_bench.compare.command import compare
from fleet_bench.options import (
    LOCAL,
    AsJson,
    BaseUrl,
    Concurrency,
    KeyEnv,
    Models,
    OptionsOnly,
    Prompt,
    Rate,
    Requests,
    Timeout,
    Warmup,
    Words,
)
from fleet_bench.settings import BenchSettings

if TYPE_CHECKING:
    from fleet_bench.load import Workload

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
app.command(cls=OptionsOnly)(compare)


@app.command(cls=OptionsOnly)
def chat(
    models: Models = None,
    base_url: BaseUrl = LOCAL,
    prompt: Prompt = None,
    n_requests: Requests = 40,
    concurrency: Concurrency = 8,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Tokens to generate.")] = 64,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 0.0,
    words: Words = 20,
    stream: Annotated[bool, typer.Option(help="Stream the responses.")] = True,
    warmup: Warmup = 2,
    rate: Rate = None,
    timeout: Timeout = 120,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Measure chat completions: time to first token and between tokens, tokens per second."""
    from fleet_bench.chat import Chat

    settings = _settings(base_url, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    _measure_all(
        "chat", "chat", models, settings,
        lambda one: Chat(one, prompt, words, max_tokens, temperature, stream), as_json,
    )  # fmt: skip


@app.command(cls=OptionsOnly)
def embeddings(
    models: Models = None,
    base_url: BaseUrl = LOCAL,
    prompt: Prompt = None,
    n_requests: Requests = 50,
    concurrency: Concurrency = 8,
    batch: Annotated[int, typer.Option(min=1, max=2048, help="Inputs in each request.")] = 1,
    words: Words = 24,
    encoding: Annotated[str, typer.Option(help="base64 or float.")] = "base64",
    warmup: Warmup = 2,
    rate: Rate = None,
    timeout: Timeout = 120,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Measure embeddings: inputs per second, latency."""
    from fleet_bench.embeddings import Embeddings

    if encoding not in ("base64", "float"):
        raise typer.BadParameter("must be base64 or float", param_hint="--encoding")
    settings = _settings(base_url, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    _measure_all(
        "embeddings", "embedding", models, settings,
        lambda one: Embeddings(one, prompt, words, batch, encoding), as_json,
    )  # fmt: skip


@app.command(cls=OptionsOnly)
def audio(
    models: Models = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="AUDIO_FILE", exists=True, dir_okay=False,
            help="A recording; repeatable. Three short samples by default.",
        ),
    ] = None,
    base_url: BaseUrl = LOCAL,
    n_requests: Requests = 20,
    concurrency: Concurrency = 4,
    language: Annotated[str | None, typer.Option(help="ISO code; detected by default.")] = None,
    translate: Annotated[bool, typer.Option(help="Translate to English.")] = False,
    warmup: Warmup = 1,
    rate: Rate = None,
    timeout: Timeout = 600,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure transcriptions: speed as a multiple of real time, latency."""
    from fleet_bench.audio import Audio
    from fleet_bench.recordings import read

    recordings = read(file or ())
    settings = _settings(base_url, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    _measure_all(
        "audio", "speech", models, settings,
        lambda one: Audio(one, recordings, language, translate), as_json,
    )  # fmt: skip


def _settings(
    base_url: str, requests: int, concurrency: int, warmup: int,
    rate: float | None, timeout: float, api_key_env: str,
) -> BenchSettings:  # fmt: skip
    """The settings, still without a model."""
    if not base_url.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="--base-url")
    return BenchSettings(
        base_url, "", requests, concurrency, warmup, rate, timeout, os.environ.get(api_key_env)
    )


def _measure_all(
    kind: str, task: str, names: str | None, settings: BenchSettings,
    workload: Callable[[BenchSettings], Workload], as_json: bool,
) -> None:  # fmt: skip
    """Measure each model in turn; exit status 1 if any request failed."""
    from fleet_bench.models import NoModel, choose, listed

    models = [name.strip() for name in (names or "").split(",") if name.strip()]
    try:
        models = models or [choose(listed(settings.root, settings.headers), task)]
    except NoModel as error:
        raise typer.BadParameter(str(error), param_hint="--model-name") from None
    good = True
    for model in models:
        one = dataclasses.replace(settings, model=model)
        good &= _measure(kind, one, workload(one), as_json)
    sys.exit(0 if good else 1)


def _measure(kind: str, settings: BenchSettings, workload: Workload, as_json: bool) -> bool:
    """Measure one model and print its figures; whether every response was valid."""
    from rich.console import Console

    from fleet_bench.load import run
    from fleet_bench.progress import progress
    from fleet_bench.report import table
    from fleet_bench.summary import summarise

    with progress(kind, settings.model, settings.requests, as_json=as_json) as advance:
        try:
            found = asyncio.run(run(settings, workload, lambda sample: advance()))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    summary = summarise(found)
    if as_json:
        print(
            json.dumps({"workload": kind, "model": settings.model, **summary.as_json()}), flush=True
        )
    else:
        Console().print(table(kind, settings, summary))
    return summary.good == summary.requests


if __name__ == "__main__":
    app()
