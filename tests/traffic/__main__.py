"""`python -m traffic URL --chat ID ...`: sends requests until a limit, SIGTERM or `stop` on stdin.

The lines `begin NAME` and `end NAME` on stdin set marks. The report is written to stdout as JSON at
the end; the exit status is 1 if a request failed or none was sent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from traffic import ChatStream, Driver, Embeddings, Kind, Plan, Transcription, WholeChat

PLAN = {"rate": float, "concurrency": int, "max_requests": int, "seconds": float, "timeout": float}


def main(arguments: list[str] | None = None, orders: Iterable[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    bounds = {name: value for name in PLAN if (value := getattr(options, name)) is not None}
    plan = Plan(
        options.url, keep_alive=not options.no_keep_alive, api_key=options.api_key, **bounds
    )
    kinds = _kinds(options)
    if not kinds:
        print("traffic: give at least one of --chat, --embedding and --speech", file=sys.stderr)
        return 2
    with Driver(plan, kinds) as driver:
        stopping = threading.Event()
        with contextlib.suppress(ValueError):  # in tests, this is not the main thread
            signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        lines = sys.stdin if orders is None else orders
        reader = threading.Thread(
            target=_process_orders, args=(lines, driver, stopping), daemon=True
        )
        reader.start()
        while not stopping.wait(0.1) and not driver.ended:
            pass
    found = driver.report()
    print(json.dumps(found.as_json(), indent=1))
    return 0 if found.clean else 1


def _process_orders(orders: Iterable[str], driver: Driver, stopping: threading.Event) -> None:
    """Process the lines of stdin; its end is ignored, since pods have no stdin."""
    open_marks: dict[str, ExitStack] = {}
    for line in orders:
        order, _, name = line.strip().partition(" ")
        if order == "begin" and name not in open_marks:
            open_marks[name] = ExitStack()
            open_marks[name].enter_context(driver.mark(name))
        elif order == "end" and name in open_marks:
            open_marks.pop(name).close()
        elif order == "stop":
            stopping.set()


def _kinds(options: argparse.Namespace) -> list[Kind]:
    kinds: list[Kind] = []
    if options.chat:
        kinds += [
            ChatStream(options.chat, word=options.word),
            WholeChat(options.chat, word=options.word),
        ]
    if options.embedding:
        kinds.append(Embeddings(options.embedding, options.dimensions))
    if options.speech:
        recording = Path(options.recording).read_bytes()
        kinds.append(Transcription(options.speech, recording, tuple(options.words.split())))
    return kinds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("traffic", description="Checked traffic on an OpenAI address.")
    parser.add_argument("url")
    parser.add_argument("--chat", metavar="ID", help="a chat model, with and without streaming")
    parser.add_argument(
        "--word", default="", help="expected in the response on the capital of France"
    )
    parser.add_argument("--embedding", metavar="ID", help="an embedding model")
    parser.add_argument("--dimensions", type=int, default=0, help="size of its vectors")
    parser.add_argument("--speech", metavar="ID", help="a speech model")
    parser.add_argument("--recording", metavar="FILE", help="an audio file")
    parser.add_argument("--words", default="", help="expected words of the recording")
    parser.add_argument(
        "--no-keep-alive", action="store_true", help="a connection for each request"
    )
    parser.add_argument("--api-key", default="none")
    for name, kind in PLAN.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser


if __name__ == "__main__":
    sys.exit(main())
