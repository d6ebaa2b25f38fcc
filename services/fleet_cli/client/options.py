"""Options of the commands that send requests."""

from __future__ import annotations

from typing import Annotated

import typer

LOCAL = "http://127.0.0.1:8000"
KEY_ENV = "OPENAI_API_KEY"
TIMEOUT_SECONDS = 600.0

BaseUrl = Annotated[
    str,
    typer.Option(envvar="BASE_URL", help="Base address, with or without /v1.", show_envvar=True),
]
KeyEnv = Annotated[
    str, typer.Option("--api-key-env", help="Environment variable that holds the API key.")
]
Timeout = Annotated[
    float,
    typer.Option(min=0.1, max=3600, help="Seconds without data after which a request fails."),
]
