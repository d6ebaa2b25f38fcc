"""A small server for tests of local mode, started as `python -m tiny_server`.

Files in the folder STATE control it while it runs: `refuse` (exit at once with that status and
message), `unready`, `unhealthy`, `deaf` (ignores SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATE = Path(os.environ["STATE"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        bad = {"/readyz": "unready", "/livez": "unhealthy"}.get(self.path)
        status = 503 if bad and (STATE / bad).exists() else 200
        body = json.dumps({"data": [{"id": "tiny", "pid": os.getpid()}]}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-modelfleet-instance", os.environ["MODELFLEET_INSTANCE"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        print("asked", self.path, flush=True)


def main(argv: list[str]) -> None:
    print(f"starting {argv[1:]}", flush=True)
    refuse = STATE / "refuse"
    if refuse.exists():
        status, _, message = refuse.read_text().partition(" ")
        print(json.dumps({"event": "load_failed", "message": message}), flush=True)
        sys.exit(int(status))
    if (STATE / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    given = dict(zip(argv[1::2], argv[2::2], strict=False))
    ThreadingHTTPServer((given["--host"], int(given["--port"])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv)
