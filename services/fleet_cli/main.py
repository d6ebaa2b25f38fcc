"""`modelfleet`: dispatches to a subcommand, importing no other, so that it starts fast."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fleet_contract.installation import install_command
from fleet_contract.names import LABEL_MODEL


@dataclass(frozen=True, slots=True)
class Subcommand:
    """`app` is the `module:attribute` of a typer app, `extra` the extra of its packages."""

    app: str
    meaning: str
    extra: str = ""


SUBCOMMANDS: dict[str, Subcommand] = {
    "up": Subcommand("fleet_local.command:app", "serve models on this machine", "server"),
    "pull": Subcommand("fleet_cli.pull:app", "download the weights of models"),
    "list": Subcommand("fleet_cli.stored:list_app", "list the weights on disk with their sizes"),
    "rm": Subcommand("fleet_cli.stored:rm_app", "delete the weights of models"),
    "adopt": Subcommand(
        "fleet_cli.adopt.command:app", "write manifests of what Ollama or llama-swap hold"
    ),
    "convert-pickle": Subcommand(
        "fleet_cli.convert_pickle:app", "convert pickled weights to safetensors, in a sandbox"
    ),
    "catalog": Subcommand("fleet_cli.catalog:app", "list the models of the catalog"),
    "render": Subcommand("fleet_cli.render:app", "print InferenceModel manifests of models"),
    "explain": Subcommand(
        "fleet_operator.commands.explain_command:app",
        "show the complete spec and the pod of a manifest",
        "operator",
    ),
    "bench": Subcommand("fleet_bench.command:app", "measure an OpenAI-compatible address"),
    "settings": Subcommand("fleet_cli.settings:app", "list the environment variables"),
    "crd": Subcommand("fleet_cli.crd:app", "print the custom resource definition"),
    "server": Subcommand("fleet_server.command:app", "serve one model", "server"),
    "router": Subcommand("fleet_router.command:app", "serve many models on one address", "router"),
    "keys": Subcommand(
        "fleet_router.keys_command:app", "create, list and revoke API keys", "router"
    ),
    "status": Subcommand("fleet_cli.status:app", "show the models of a running fleet", "router"),
    "top": Subcommand("fleet_cli.top:app", "watch the models of a running fleet", "router"),
    "load": Subcommand("fleet_cli.orders:load_app", "start a model", "server"),
    "unload": Subcommand("fleet_cli.orders:unload_app", "stop a model", "server"),
    "scale": Subcommand(
        "fleet_cli.orders:scale_app", "set the number of servers of a model", "server"
    ),
    "logs": Subcommand("fleet_cli.logs:app", "print the log of a model of a local fleet"),
    "chat": Subcommand("fleet_cli.client.chat:app", "chat with a model of a running fleet"),
    "embed": Subcommand("fleet_cli.client.embed:app", "embed texts, or compare them"),
    "transcribe": Subcommand("fleet_cli.client.transcribe:app", "print the text of a recording"),
    "doctor": Subcommand("fleet_cli.doctor.command:app", "check what would prevent `up`", "server"),
    "operator": Subcommand("fleet_operator.command:app", "run the Kubernetes operator", "operator"),
}

ABSENT = {
    "speak": "no engine generates speech; `transcribe` prints the text of a recording",
}
"""Commands that other model servers have, and why they are missing here."""
USAGE_STATUS = 2
COMPLETE_VARIABLE = "_MODELFLEET_COMPLETE"
"""What the shell's completion sets; named by typer for the program."""
COMPLETION = ("--install-completion", "--show-completion")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits with the status of the subcommand."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETE_VARIABLE in os.environ or (given and given[0] in COMPLETION):
        from fleet_cli.completion import run as complete

        complete(
            given,
            {name: known.meaning for name, known in SUBCOMMANDS.items()},
            {name: known.app for name, known in SUBCOMMANDS.items()},
        )
        return
    match given:
        case [] | ["-h" | "--help" | "help", *_]:
            print(help_text())
            sys.exit(0)
        case ["-V" | "--version" | "version", *_]:
            print(f"modelfleet {own_version()}")
            sys.exit(0)
        case [name, *rest] if name in SUBCOMMANDS:
            sys.exit(run(name, rest))
        case [name, *_]:
            print(unknown(name), file=sys.stderr)
            sys.exit(USAGE_STATUS)


def kubectl() -> None:
    """Entry point of the kubectl plugin `kubectl modelfleet`: commands use the cluster, unless
    MODELFLEET_CLUSTER is 0."""
    from fleet_cli.cluster.options import ENV_CLUSTER

    os.environ.setdefault(ENV_CLUSTER, "1")
    if sys.argv[1:2] == ["logs"] and os.environ[ENV_CLUSTER] == "1":
        # Its -n is not a namespace but the number of lines.
        print(f"kubectl modelfleet logs: use `kubectl logs -l {LABEL_MODEL}=NAME`.",
              file=sys.stderr)  # fmt: skip
        sys.exit(USAGE_STATUS)
    main()


def run(name: str, arguments: list[str]) -> int:
    """Run a subcommand; its exit status."""
    subcommand = SUBCOMMANDS[name]
    module, _, attribute = subcommand.app.partition(":")
    try:
        app = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        print(missing(name, subcommand, error), file=sys.stderr)
        return USAGE_STATUS
    try:
        app(arguments, prog_name=f"modelfleet {name}")
    except ModuleNotFoundError as error:  # subcommands import most packages when they run
        if not subcommand.extra or error.name is None or error.name.startswith("fleet_"):
            raise
        print(missing(name, subcommand, error), file=sys.stderr)
        return USAGE_STATUS
    return 0


def help_text() -> str:
    """The text of `modelfleet --help`."""
    width = max(len(name) for name in SUBCOMMANDS)
    lines = [f"  {name:{width}}  {known.meaning}" for name, known in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "Usage: modelfleet COMMAND [OPTIONS]",
            "",
            "OpenAI-compatible serving for fleets of small models.",
            "",
            "Commands:",
            *lines,
            "",
            "Options:",
            "  --help     print this; `modelfleet COMMAND --help` has details",
            "  --version  print the version",
            "  --install-completion, --show-completion",
            "             complete commands and options in this shell with Tab",
        ]
    )


def unknown(name: str) -> str:
    """The message for a command that does not exist."""
    from difflib import get_close_matches

    if name in ABSENT:
        return f"modelfleet {name}: {ABSENT[name]}."
    close = get_close_matches(name, SUBCOMMANDS, n=1)
    hint = f"did you mean `{close[0]}`?" if close else "see `modelfleet --help`."
    return f"modelfleet: unknown command {name!r}; {hint}"


def missing(name: str, subcommand: Subcommand, error: ModuleNotFoundError) -> str:
    """The message for a command whose packages are not installed."""
    text = f"modelfleet {name}: {error}."
    if subcommand.extra:
        text += f" Install it with `{install_command(subcommand.extra)}`."
    return text


def own_version() -> str:
    try:
        return version("modelfleet")
    except PackageNotFoundError:
        return "unknown"
