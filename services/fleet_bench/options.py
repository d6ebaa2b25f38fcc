"""Options of several `modelfleet bench` commands, with Simple Inference Server's names too."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from fleet_bench.settings import MAX_CONCURRENCY, MAX_REQUESTS

LOCAL = "http://127.0.0.1:8000"

BaseUrl = Annotated[
    str,
    typer.Option(envvar="BASE_URL", help="Base address, with or without /v1.", show_envvar=True),
]
Models = Annotated[
    str | None,
    typer.Option(
        "--models", "--model", "--model-name", envvar="MODEL_NAME", show_envvar=True,
        help="Comma-separated ids, measured one after the other; "
        "by default the first that /v1/models lists for the task.",
    ),
]  # fmt: skip
Prompt = Annotated[
    str | None,
    typer.Option(envvar="PROMPT", help="One text for all requests; distinct texts by default."),
]
Requests = Annotated[
    int, typer.Option("--n-requests", envvar="N_REQUESTS", min=1, max=MAX_REQUESTS)
]
Concurrency = Annotated[
    int,
    typer.Option(
        envvar="CONCURRENCY", min=1, max=MAX_CONCURRENCY,
        help="Clients that send requests at the same time; at most one for each request.",
    ),
]  # fmt: skip
Warmup = Annotated[int, typer.Option(min=0, max=1000, help="Requests before measuring.")]
Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Requests started each second, instead of a closed loop."),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds a request may take.")]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print a JSON object for each model, progress to standard error."),
]
KeyEnv = Annotated[
    str, typer.Option("--api-key-env", help="Environment variable that holds the API key.")
]
Words = Annotated[int, typer.Option(min=1, max=100_000, help="Words of each text.")]


class OptionsOnly(TyperCommand):
    """A command without positional arguments that ignores `--`.

    Simple Inference Server's audio benchmark was run as `script.py -- --n-requests 20`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [argument for argument in args if argument != "--"])
