"""The command `modelfleet bench compare`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_bench.options import AsJson, Concurrency, KeyEnv, Timeout
from fleet_contract.installation import install_command

if TYPE_CHECKING:
    from rich.console import Console

    from fleet_bench.compare.cases import Cases
    from fleet_bench.compare.load import RequestLoad
    from fleet_bench.compare.request import Addresses, LocalServers
    from fleet_bench.compare.results.outcome import ModelComparison

FAILED_STATUS = 1
INTERRUPTED_STATUS = 130
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
REFERENCES = ("auto", "transformers", "faster-whisper", "torch")
PLOTS_HINT = f"No plot was drawn: matplotlib is missing. Install it: {install_command('plots')}"


def compare(
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            "--model",
            "--model-name",
            envvar="MODEL_NAME",
            help="Comma-separated ids; by default the three of the demo, or all that A and B list.",
        ),
    ] = None,
    a: Annotated[
        str | None, typer.Option("--a", help="Address of a running server, the reference.")
    ] = None,
    b: Annotated[
        str | None, typer.Option("--b", help="Address of the server to compare with it.")
    ] = None,
    b_model: Annotated[
        str | None, typer.Option(help="The model's id at B, if it differs from A's.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="chat, embedding or speech, if no server lists the task.")
    ] = None,
    a_pid: Annotated[
        int | None, typer.Option(help="Process id of A, to measure its memory.")
    ] = None,
    b_pid: Annotated[
        int | None, typer.Option(help="Process id of B, to measure its memory.")
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="Without addresses, the library of A: transformers, faster-whisper (Whisper in "
            "CTranslate2 format), torch (Modelfleet's torch engine), or auto."
        ),
    ] = "auto",
    install_reference: Annotated[
        bool,
        typer.Option(
            "--install-reference",
            help="Install torch and transformers into a separate environment in the cache folder, "
            "if they are not installed here.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Device of both servers: auto, cpu, cuda or cuda:N.")
    ] = ("auto"),
    dtype: Annotated[
        str,
        typer.Option(
            help="Number format of the reference: auto (float32 on a CPU), float32, bfloat16, "
            "float16, or int8 for faster-whisper."
        ),
    ] = "auto",
    n_requests: Annotated[
        int, typer.Option("--n-requests", envvar="N_REQUESTS", min=1, max=100_000)
    ] = 8,
    concurrency: Concurrency = 1,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Rounds; each measures A, then B.")
    ] = 3,
    warmup: Annotated[int, typer.Option(min=0, max=1000, help="Requests before measuring.")] = 2,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Tokens to generate.")] = 64,
    batch: Annotated[
        int, typer.Option(min=1, max=2048, help="Texts in each embeddings request.")
    ] = 1,
    language: Annotated[
        str | None, typer.Option(help="ISO code of the recordings' language.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File with a prompt in each line."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File with a text in each line."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="AUDIO_FILE", exists=True, dir_okay=False, help="A recording; repeatable."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("bench-compare"),
    timeout: Timeout = 600,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Compare speed, memory and outputs of two servers.

    With --a and --b two running servers are compared. Otherwise each model (by default the three
    of the demo) is served here twice: by the reference as A and by Modelfleet as B. The report is
    printed, and written as Markdown, JSON, PNG and SVG.
    """
    from rich.console import Console

    from fleet_bench.compare.cases import cases
    from fleet_bench.compare.errors import CannotCompare
    from fleet_bench.compare.listing import TASKS
    from fleet_bench.compare.load import RequestLoad
    from fleet_bench.compare.request import Addresses, LocalServers
    from fleet_bench.compare.results.files import as_json as everything
    from fleet_bench.compare.results.files import write_tables
    from fleet_bench.compare.results.report import table
    from fleet_bench.compare.sides.environment import install
    from fleet_bench.compare.sides.machine import machine
    from fleet_contract.spec import DEVICE_PATTERN, DEVICES

    sides: Addresses | LocalServers = LocalServers(reference, device, dtype)
    if (a is None) != (b is None):
        raise typer.BadParameter("needs the other address too", param_hint="--a, --b")
    if a is not None and b is not None:
        for option, url in (("--a", a), ("--b", b)):
            if not url.startswith(("http://", "https://")):
                raise typer.BadParameter("must begin with http:// or https://", param_hint=option)
        key = os.environ.get(api_key_env)
        if a.rstrip("/") == b.rstrip("/") and b_model is None:
            # Useful to see how much two runs differ, but easily a mistake.
            print(
                "A and B are the same server and model: differences are noise and caching.",
                file=sys.stderr,
            )
        sides = Addresses(a, b, b_model, task, a_pid, b_pid, key)
    for option, value, known in (
        ("--reference", reference, REFERENCES),
        ("--dtype", dtype, DTYPES),
        ("--task", task or TASKS[0], TASKS),
    ):
        if value not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}", param_hint=option)
    if not re.match(DEVICE_PATTERN, device):
        raise typer.BadParameter(f"must be {DEVICES}", param_hint="--device")
    clients = min(concurrency, n_requests)
    if clients < concurrency:
        print(f"{clients} clients, one for each request of a round.", file=sys.stderr)
    load = RequestLoad(
        n_requests, clients, rounds, warmup, max_tokens, batch, language, timeout
    )  # fmt: skip
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    # SIGTERM must run the `finally` blocks that stop the servers started here.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    taken_on = machine()
    notes = Console(stderr=True, quiet=as_json)
    try:
        if install_reference:
            install(os.environ)
        found = _outcomes(names, sides, cases(prompts, texts, file or []), load, notes)
        written = write_tables(output, found, taken_on)
    except (CannotCompare, ValueError, OSError) as error:
        print(f"modelfleet bench compare: {error}", file=sys.stderr)
        sys.exit(FAILED_STATUS)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_STATUS)
    if as_json:
        print(json.dumps(everything(found, taken_on)))
    else:
        for outcome in found:
            Console().print(table(outcome))
    try:
        from fleet_bench.compare.results.files import write_pictures

        written += write_pictures(output, found)
    except ImportError:
        notes.print(PLOTS_HINT, markup=False)
    notes.print("Written: " + ", ".join(str(path) for path in written), soft_wrap=True)


def _outcomes(
    names: list[str],
    sides: Addresses | LocalServers,
    cases: Cases,
    load: RequestLoad,
    notes: Console,
) -> list[ModelComparison]:
    """The outcome of each model. Raises CannotCompare or ValueError."""
    from dotenv import load_dotenv

    from fleet_bench.compare.request import Addresses, compared, of_addresses, of_spec
    from fleet_contract import catalog

    found: list[ModelComparison] = []
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(notes.status("preparing"))
        tick = status.update
        if isinstance(sides, Addresses):
            for model, task, pair in of_addresses(names, sides):
                found.append(compared(model, task, pair, cases, load, tick))
            return found
        load_dotenv(".env", override=False)
        named = os.environ.get("CATALOG", "").strip()
        known = catalog.load(Path(named) if named else None)
        for spec in catalog.resolve(names or catalog.DEMO, known):
            with of_spec(spec, sides, os.environ, tick) as pair:
                found.append(compared(spec.model, spec.task.value, pair, cases, load, tick))
    return found
