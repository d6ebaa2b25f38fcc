"""The command line of `modelfleet bench compare`."""

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

if TYPE_CHECKING:
    from rich.console import Console

    from fleet_bench.compare.cases import Cases
    from fleet_bench.compare.load import Load
    from fleet_bench.compare.request import Addresses, Own
    from fleet_bench.compare.results.outcome import Outcome

FAILED_STATUS = 1
INTERRUPTED_STATUS = 130
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
REFERENCES = ("auto", "transformers", "faster-whisper", "torch")
PLOTS_HINT = (
    "No plot was drawn: matplotlib is missing. `.venv/bin/pip install matplotlib` installs it in "
    "a clone, `pip install 'modelfleet[plots]'` elsewhere."
)


def compare(
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            "--model",
            "--model-name",
            envvar="MODEL_NAME",
            help="Ids, comma-separated; the demo's three, or all that both addresses list.",
        ),
    ] = None,
    a: Annotated[
        str | None, typer.Option("--a", help="Address of a running server, as the reference.")
    ] = None,
    b: Annotated[
        str | None, typer.Option("--b", help="Address of the server compared with it.")
    ] = None,
    b_model: Annotated[str | None, typer.Option(help="B's id of the model, if not A's.")] = None,
    task: Annotated[
        str | None, typer.Option(help="chat, embedding or speech, where no server gives it.")
    ] = None,
    a_pid: Annotated[int | None, typer.Option(help="Process of A, to take its memory.")] = None,
    b_pid: Annotated[int | None, typer.Option(help="Process of B, to take its memory.")] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="Without addresses, what A runs: transformers, faster-whisper (Whisper files of "
            "CTranslate2), torch (our torch engine), or auto."
        ),
    ] = "auto",
    install_reference: Annotated[
        bool,
        typer.Option(
            "--install-reference",
            help="Install torch and transformers into an environment of their own under the cache "
            "folder, if they are not installed here.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="Of both servers: auto, cpu, cuda or cuda:N.")] = (
        "auto"
    ),
    dtype: Annotated[
        str,
        typer.Option(
            help="Of the reference: auto (float32 on a CPU), float32, bfloat16, float16; int8 for "
            "faster-whisper."
        ),
    ] = "auto",
    n_requests: Annotated[
        int, typer.Option("--n-requests", envvar="N_REQUESTS", min=1, max=100_000)
    ] = 8,
    concurrency: Concurrency = 1,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds, A B A B.")] = 3,
    warmup: Annotated[int, typer.Option(min=0, max=1000, help="Requests before measuring.")] = 2,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="New tokens each.")] = 64,
    batch: Annotated[int, typer.Option(min=1, max=2048, help="Texts in a request.")] = 1,
    language: Annotated[str | None, typer.Option(help="ISO code of recordings.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File, a prompt in each line.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File, a text in each line.")
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(envvar="AUDIO_FILE", exists=True, dir_okay=False, help="A recording."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("bench-compare"),
    timeout: Timeout = 600,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    as_json: AsJson = False,
) -> None:
    """Compare two servers in turns: speed, memory, and how far their answers agree.

    With --a and --b two running servers are compared. Otherwise the models named (the demo's three
    by default) are served here twice: by the reference as A and by Modelfleet as B. The report is
    printed and written as Markdown, JSON, PNG and SVG.
    """
    from rich.console import Console

    from fleet_bench.compare.cases import cases
    from fleet_bench.compare.errors import CannotCompare
    from fleet_bench.compare.listing import TASKS
    from fleet_bench.compare.load import Load
    from fleet_bench.compare.request import Addresses, Own
    from fleet_bench.compare.results.files import as_json as everything
    from fleet_bench.compare.results.files import write_tables
    from fleet_bench.compare.results.report import table
    from fleet_bench.compare.sides.environment import install
    from fleet_bench.compare.sides.machine import machine
    from fleet_contract.spec import DEVICE_PATTERN

    sides: Addresses | Own = Own(reference, device, dtype)
    if (a is None) != (b is None):
        raise typer.BadParameter("goes with the other address", param_hint="--a, --b")
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
            raise typer.BadParameter(f"is one of {', '.join(known)}", param_hint=option)
    if not re.match(DEVICE_PATTERN, device):
        raise typer.BadParameter("is auto, cpu, mps, cuda or cuda:N", param_hint="--device")
    load = Load(
        n_requests, concurrency, rounds, warmup, max_tokens, batch, language, timeout
    )  # fmt: skip
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    # Servers started here end with this process, whatever ends it.
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
    names: list[str], sides: Addresses | Own, cases: Cases, load: Load, notes: Console
) -> list[Outcome]:
    """One outcome for each model. Raises CannotCompare or ValueError."""
    from dotenv import load_dotenv

    from fleet_bench.compare.request import Addresses, compared, of_addresses, of_spec
    from fleet_contract import catalog

    found: list[Outcome] = []
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
