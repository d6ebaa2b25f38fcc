"""`modelfleet bench embeddings|chat|audio`: measure an OpenAI-compatible address."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_bench.plan import MAX_CONCURRENCY, MAX_REQUESTS, Plan

if TYPE_CHECKING:
    from fleet_bench.load import Workload

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

BaseUrl = Annotated[
    str, typer.Option(envvar="BASE_URL", help="Address, with or without /v1.", show_envvar=True)
]
Model = Annotated[str, typer.Option("--model", "--model-name", envvar="MODEL_NAME", help="Id.")]
Prompt = Annotated[
    str | None,
    typer.Option(envvar="PROMPT", help="One text for all requests; distinct ones otherwise."),
]
Requests = Annotated[
    int, typer.Option("--n-requests", envvar="N_REQUESTS", min=1, max=MAX_REQUESTS)
]
Concurrency = Annotated[int, typer.Option(envvar="CONCURRENCY", min=1, max=MAX_CONCURRENCY)]
Warmup = Annotated[int, typer.Option(min=0, max=1000, help="Requests before measuring.")]
Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Requests started each second, instead of a closed loop."),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds a request may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
KeyEnv = Annotated[
    str, typer.Option("--api-key-env", help="Environment variable that holds the API key.")
]
Words = Annotated[int, typer.Option(min=1, max=100_000, help="Words of each text.")]

LOCAL = "http://127.0.0.1:8000"


@app.command()
def chat(
    model: Model,
    base_url: BaseUrl = LOCAL,
    prompt: Prompt = None,
    n_requests: Requests = 40,
    concurrency: Concurrency = 8,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="New tokens each.")] = 64,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 0.0,
    words: Words = 20,
    stream: Annotated[bool, typer.Option(help="Stream the answers.")] = True,
    warmup: Warmup = 2,
    rate: Rate = None,
    timeout: Timeout = 120,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Chat answers: time to first token, between tokens, tokens per second."""
    from fleet_bench.chat import Chat

    plan = _plan(base_url, model, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    _measure("chat", plan, Chat(plan, prompt, words, max_tokens, temperature, stream), as_json)


@app.command()
def embeddings(
    model: Model,
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
    """Embeddings: inputs per second, latency."""
    from fleet_bench.embeddings import Embeddings

    if encoding not in ("base64", "float"):
        raise typer.BadParameter("must be base64 or float", param_hint="--encoding")
    plan = _plan(base_url, model, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    _measure("embeddings", plan, Embeddings(plan, prompt, words, batch, encoding), as_json)


@app.command()
def audio(
    model: Model,
    file: Annotated[
        Path, typer.Option(envvar="AUDIO_FILE", exists=True, dir_okay=False, help="A recording.")
    ],
    base_url: BaseUrl = LOCAL,
    n_requests: Requests = 20,
    concurrency: Concurrency = 4,
    language: Annotated[str | None, typer.Option(help="ISO code; detected otherwise.")] = None,
    translate: Annotated[bool, typer.Option(help="Translate to English.")] = False,
    warmup: Warmup = 1,
    rate: Rate = None,
    timeout: Timeout = 600,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Transcriptions: times real time, latency."""
    from fleet_bench.audio import Audio

    plan = _plan(base_url, model, n_requests, concurrency, warmup, rate, timeout, api_key_env)
    workload = Audio(plan, file.read_bytes(), file.name, language, translate)
    _measure("audio", plan, workload, as_json)


def _plan(
    base_url: str, model: str, requests: int, concurrency: int, warmup: int,
    rate: float | None, timeout: float, api_key_env: str,
) -> Plan:  # fmt: skip
    if not base_url.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="--base-url")
    return Plan(
        base_url, model, requests, concurrency, warmup, rate, timeout, os.environ.get(api_key_env)
    )


def _measure(kind: str, plan: Plan, workload: Workload, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fleet_bench.load import run
    from fleet_bench.report import table
    from fleet_bench.summary import summarise

    columns = (TextColumn(kind), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json, transient=True) as bar:
        task = bar.add_task(kind, total=plan.requests)
        try:
            found = asyncio.run(run(plan, workload, lambda sample: bar.advance(task)))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    summary = summarise(found)
    if as_json:
        print(json.dumps({"workload": kind, "model": plan.model, **summary.as_json()}))
    else:
        Console().print(table(kind, plan, summary))
    sys.exit(0 if summary.good == summary.requests else 1)


if __name__ == "__main__":
    app()
