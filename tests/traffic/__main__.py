"""`python -m traffic URL --chat ID ...`: traffic until its bounds, SIGTERM or `stop` on stdin.

Lines `begin NAME` and `end NAME` on stdin set marks. At the end the report goes to stdout as JSON;
the exit status is 1 where a request failed or there were none.
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

PLAN = {"rate": float, "at_once": int, "most": int, "seconds": float, "patience": float}


def main(arguments: list[str] | None = None, orders: Iterable[str] | None = None) -> int:
    """Run the command; the exit status."""
    asked = _parser().parse_args(arguments)
    bounds = {name: value for name in PLAN if (value := getattr(asked, name)) is not None}
    plan = Plan(asked.url, keep_alive=not asked.no_keep_alive, api_key=asked.api_key, **bounds)
    kinds = _kinds(asked)
    if not kinds:
        print("traffic: give at least one of --chat, --embedding and --speech", file=sys.stderr)
        return 2
    with Driver(plan, kinds) as driver:
        stopping = threading.Event()
        with contextlib.suppress(ValueError):  # not the main thread, in tests
            signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        reader = threading.Thread(
            target=_obey, args=(orders if orders is not None else sys.stdin, driver, stopping),
            daemon=True,
        )  # fmt: skip
        reader.start()
        while not stopping.wait(0.1) and not driver.ended:
            pass
    found = driver.report()
    print(json.dumps(found.as_json(), indent=1))
    return 0 if found.clean else 1


def _obey(orders: Iterable[str], driver: Driver, stopping: threading.Event) -> None:
    """Marks as stdin says; its end ends nothing, since in a pod there is none."""
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


def _kinds(asked: argparse.Namespace) -> list[Kind]:
    kinds: list[Kind] = []
    if asked.chat:
        kinds += [ChatStream(asked.chat, word=asked.word), WholeChat(asked.chat, word=asked.word)]
    if asked.embedding:
        kinds.append(Embeddings(asked.embedding, asked.dimensions))
    if asked.speech:
        recording = Path(asked.recording).read_bytes()
        kinds.append(Transcription(asked.speech, recording, tuple(asked.words.split())))
    return kinds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("traffic", description="Checked traffic on an OpenAI address.")
    parser.add_argument("url")
    parser.add_argument("--chat", metavar="ID", help="a chat model: streams and whole answers")
    parser.add_argument("--word", default="", help="in the answer on the capital of France")
    parser.add_argument("--embedding", metavar="ID", help="an embedding model")
    parser.add_argument("--dimensions", type=int, default=0, help="of its vectors")
    parser.add_argument("--speech", metavar="ID", help="a speech model")
    parser.add_argument("--recording", metavar="FILE", help="what it hears")
    parser.add_argument("--words", default="", help="what is said there")
    parser.add_argument("--no-keep-alive", action="store_true", help="a connection per request")
    parser.add_argument("--api-key", default="none")
    for name, kind in PLAN.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser


if __name__ == "__main__":
    sys.exit(main())
