"""`modelfleet keys`: creates, lists and revokes the API keys of a key file or a Secret."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_router.key_stores import Entry, FileStore, KeyStore, SecretStore

KEY_BYTES = 32
LIMITS = {
    "requests_per_minute": "requestsPerMinute",
    "tokens_per_minute": "tokensPerMinute",
    "concurrent_requests": "concurrentRequests",
}

app = typer.Typer(add_completion=False, no_args_is_help=True)
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", envvar="KEYS_FILE", help="The key file.", dir_okay=False),
]
Secret = Annotated[
    str | None,
    typer.Option(help="Secret of the cluster with the key `keys.yaml`, instead of a file."),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Its namespace; the context's by default.")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig (KUBECONFIG).")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the key in metrics and logs.")],
    file: File = None,
    secret: Secret = None,
    namespace: Namespace = None,
    context: Context = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Id or pattern; default: all models.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="May read /metrics.")] = False,
    manage: Annotated[
        bool, typer.Option("--manage", help="May start and stop models in the console.")
    ] = False,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    concurrent_requests: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Add a key to the file or Secret and print it, once: only its hash is kept."""
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
    if manage:
        entry["manage"] = True
    with _errors(store := store_of(file, secret, namespace, context)):
        store.change(lambda entries: [*entries, entry])
    print(key)


@app.command("list")
def list_keys(
    file: File = None,
    secret: Secret = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """List the names, models and limits of the keys; hashes are not printed."""
    with _errors(store := store_of(file, secret, namespace, context)):
        entries = store.entries()
    for entry in entries:
        allowed = ",".join(entry.get("models") or ["*"])
        limits = [f"{limit}={value}" for limit, value in (entry.get("limits") or {}).items()]
        rights = [right for right in ("metrics", "manage") if entry.get(right)]
        print("\t".join([entry["name"], allowed, *limits, *rights]))


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    file: File = None,
    secret: Secret = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Remove a key; routers refuse it within seconds, with a Secret within a minute."""

    def without(entries: list[Entry]) -> list[Entry]:
        kept = [entry for entry in entries if entry["name"] != name]
        if len(kept) == len(entries):
            listed = ", ".join(entry["name"] for entry in entries) or "none"
            raise ValueError(f"it has no key {name!r}; its keys: {listed}")
        return kept

    with _errors(store := store_of(file, secret, namespace, context)):
        store.change(without)


def store_of(
    file: Path | None, secret: str | None, namespace: str | None, context: str | None
) -> KeyStore:
    """The store of the options. Raises typer.Exit without one; a Secret comes before KEYS_FILE."""
    if secret is not None:
        return SecretStore(secret, namespace, context, os.environ)
    if file is None:
        typer.echo("modelfleet keys: name a --file (KEYS_FILE), or a --secret", err=True)
        raise typer.Exit(2)
    return FileStore(file)


@contextmanager
def _errors(store: KeyStore) -> Iterator[None]:
    """Exit with 1 and a message instead of ValueError and OSError."""
    try:
        yield
    except (ValueError, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        typer.echo(f"modelfleet keys: {store}: {reason}", err=True)
        raise typer.Exit(1) from None
