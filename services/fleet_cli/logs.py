"""`modelfleet logs [MODEL]`: the logs of the servers of a fleet that was started in this folder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fleet_cli.client.output import errors, safe, tolerant_streams
from fleet_cli.fleet_folder import Port, entries_of, entry_of, folder_of

ROUTER = "router"
FOLLOW_SECONDS = 0.2
TAIL_BYTES = 1 << 20

app = typer.Typer(add_completion=False)


@app.command()
def logs(
    model: Annotated[
        str, typer.Argument(help="Id or alias; `router`, the default, for the router.")
    ] = ROUTER,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to print.")] = 100,
    port: Port = None,
) -> None:
    """Print the log of a model, from the folder `run` of the fleet."""
    tolerant_streams()
    with errors("logs"):
        folder = folder_of(port)
        try:
            for line in printed(lambda: log_files(folder, model), lines, follow=follow):
                print(safe(line), flush=True)
        except KeyboardInterrupt:
            return


def log_files(folder: Path, model: str) -> list[Path]:
    """The log files of a model's servers. Raises ValueError if there are none."""
    from fleet_local.routes_file import server_names

    entries = entries_of(folder)
    if model == ROUTER:
        return [folder / f"{ROUTER}.log"]
    identifier = entry_of(entries, model)["spec"]["model"]
    names = {one["spec"]["model"]: server_names(one["spec"]["model"], 1)[0] for one in entries}
    # Not those of another model, such as `acme/two-1b` beside `acme/two`.
    own = re.compile(re.escape(names.pop(identifier)) + r"(-[0-9]+)?\.log")
    others = set(names.values())
    present = [
        path
        for path in sorted(folder.glob("*.log"))
        if own.fullmatch(path.name) and path.stem not in others
    ]
    if not present:
        raise ValueError(f"{identifier} has no log yet: it was not started, or LOG_FORMAT is text")
    return present


def printed(
    find: Callable[[], Sequence[Path]],
    number: int,
    *,
    follow: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """The last `number` lines of each file that `find` returns, then with `follow` those that are
    added, also in files of servers that start later; of several files with the name of the server.

    Raises what `find` raises at first.
    """
    files = list(find())
    places: dict[Path, int] = {}
    for path in files:
        tail, places[path] = last_lines(path, number)
        yield from (_prefix(path, files) + line for line in tail)
    rest: dict[Path, bytes] = {}
    while follow:
        sleep(FOLLOW_SECONDS)
        with suppress(ValueError):  # while the routes are replaced, or after the end of the fleet
            files += [path for path in find() if path not in places]
        for path in files:
            begin, data = added(path, places.get(path, 0))
            if begin < places.get(path, 0):
                rest[path] = b""
            places[path] = begin + len(data)
            *whole, rest[path] = (rest.get(path, b"") + data).split(b"\n")
            prefix = _prefix(path, files)
            yield from (prefix + line.decode("utf-8", "replace") for line in whole)


def _prefix(path: Path, files: Sequence[Path]) -> str:
    return f"{path.stem} | " if len(files) > 1 else ""


def last_lines(path: Path, number: int) -> tuple[list[str], int]:
    """At most `number` of the last lines, of the last TAIL_BYTES, and the place behind them."""
    with path.open("rb") as file:
        begin = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
        file.seek(begin)
        # What follows the last line break is printed when its line is complete.
        whole, newline, _ = file.read(TAIL_BYTES).rpartition(b"\n")
    lines = whole.decode("utf-8", "replace").split("\n") if newline else []
    return (lines[-number:] if number else []), begin + len(whole) + len(newline)


def added(path: Path, place: int) -> tuple[int, bytes]:
    """The bytes from `place` in the file and that place; 0 for a file that was cut."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < place:
                place = 0
            file.seek(place)
            data = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return 0, b""
    return place, data
