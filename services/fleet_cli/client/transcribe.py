"""`modelfleet transcribe FILE`: the text of a recording, as subtitles or JSON too."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_cli.client.options import KEY_ENV, LOCAL, TIMEOUT_SECONDS, BaseUrl, KeyEnv, Timeout
from fleet_cli.client.output import errors, safe, tolerant_streams
from fleet_contract.server_protocol import ServerPhase

TASK = "speech"

app = typer.Typer(add_completion=False)


class Format(StrEnum):
    """`json` has the language, the duration and the segments with their times."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"


RESPONSE_FORMATS = {Format.JSON: "verbose_json"}


@app.command()
def transcribe(
    file: Annotated[Path, typer.Argument(help="A recording: wav, mp3, m4a, ogg, flac, webm, ...")],
    model: Annotated[
        str | None,
        typer.Option(help="Id or alias; by default the first that the server lists for speech."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Format.")] = Format.TEXT,
    language: Annotated[str | None, typer.Option(help="ISO code; detected by default.")] = None,
    base_url: BaseUrl = LOCAL,
    api_key_env: KeyEnv = KEY_ENV,
    timeout: Timeout = TIMEOUT_SECONDS,
) -> None:
    """Print what is said in a recording."""
    from fleet_cli.client.server import Server

    tolerant_streams()
    with errors("transcribe"), Server(base_url, api_key_env, timeout) as server:
        if file.exists() and not file.is_file():
            raise ValueError(f"{file}: it is not a file")
        with file.open("rb") as stream:
            chosen = model or choose(server.get_json("/models"))
            fields = {"model": chosen, "response_format": RESPONSE_FORMATS.get(form, form.value)}
            if language is not None:
                fields["language"] = language
            raw = server.post(
                "/audio/transcriptions", data=fields, files={"file": (file.name, stream)}
            )
    text = raw.decode("utf-8", errors="replace").strip()
    print(safe(text) if sys.stdout.isatty() else text)


def choose(listed: Mapping[str, Any]) -> str:
    """The first ready model for speech of `/v1/models`, else the first. Raises ValueError."""
    entries = listed.get("data")
    fitting: Sequence[Mapping[str, Any]] = [
        entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and entry.get("task") == TASK
        and isinstance(entry.get("id"), str)
    ]
    if not fitting:
        raise ValueError("the server lists no model for speech; name one with --model")
    ready = (entry for entry in fitting if entry.get("state") == ServerPhase.READY)
    return str(next(ready, fitting[0])["id"])
