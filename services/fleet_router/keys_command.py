"""`modelfleet keys`: creates, lists and revokes the API keys of a key file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from fleet_contract.yaml_text import dump_all
from fleet_router.callers.keys import parse

KEY_BYTES = 32
LIMITS = {
    "requests_per_minute": "requestsPerMinute",
    "tokens_per_minute": "tokensPerMinute",
    "concurrent_requests": "concurrentRequests",
}

app = typer.Typer(add_completion=False, no_args_is_help=True)
File = Annotated[
    Path, typer.Option("--file", "-f", envvar="KEYS_FILE", help="The key file.", dir_okay=False)
]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the key in metrics and logs.")],
    file: File,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Id or pattern; default: all models.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="May read /metrics.")] = False,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    concurrent_requests: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Add a key to the file and print it, once: the file has only its hash."""
    key = f"mf-{secrets.token_urlsafe(KEY_BYTES)}"
    entry: dict[str, Any] = {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest()}
    if models:
        entry["models"] = models
    given = (requests_per_minute, tokens_per_minute, concurrent_requests)
    limits = dict(zip(LIMITS.values(), given, strict=True))
    if limits := {limit: value for limit, value in limits.items() if value is not None}:
        entry["limits"] = limits
    if metrics:
        entry["metrics"] = True
    with _errors(file), _locked(file):
        entries = read(file) if file.exists() else []
        write(file, [*entries, entry])
    print(key)


@app.command("list")
def list_keys(file: File) -> None:
    """List the names, models and limits of the keys; hashes are not printed."""
    with _errors(file):
        entries = read(file)
    for entry in entries:
        allowed = ",".join(entry.get("models") or ["*"])
        limits = [f"{limit}={value}" for limit, value in (entry.get("limits") or {}).items()]
        print(
            "\t".join([entry["name"], allowed, *limits, *["metrics"] * bool(entry.get("metrics"))])
        )


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")], file: File) -> None:
    """Remove a key from the file; routers refuse it within seconds."""
    with _errors(file), _locked(file):
        entries = read(file)
        kept = [entry for entry in entries if entry["name"] != name]
        if len(kept) == len(entries):
            listed = ", ".join(entry["name"] for entry in entries) or "none"
            raise ValueError(f"it has no key {name!r}; its keys: {listed}")
        write(file, kept)


def read(file: Path) -> list[dict[str, Any]]:
    """The entries of a key file. Raises ValueError where a router would refuse it, and OSError."""
    text = file.read_text(encoding="utf-8")
    parse(text)
    entries: list[dict[str, Any]] = yaml.safe_load(text)["keys"]
    return entries


def write(file: Path, entries: list[dict[str, Any]]) -> None:
    """Replace a key file by one with `entries`, of the same owner; its comments are lost. A new
    one is private.

    Raises ValueError where a router would refuse it, and OSError; the file is then unchanged.
    """
    text = dump_all([{"keys": entries}])
    parse(text)
    target = file.resolve()  # a link stays one
    known = target.stat() if target.exists() else None
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            if known is not None:
                os.fchown(stream.fileno(), known.st_uid, known.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(known.st_mode))
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other `modelfleet keys` from changing the file meanwhile. Raises OSError."""
    folder = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    """Exit with 1 and a message instead of ValueError and OSError."""
    try:
        yield
    except (ValueError, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        typer.echo(f"modelfleet keys: {file}: {reason}", err=True)
        raise typer.Exit(1) from None
