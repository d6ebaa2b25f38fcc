"""llama.cpp's server in this process, reached over a private Unix socket.

`xllamacpp.Server` always listens, and replaces the process's handlers of SIGINT and SIGTERM. Its
HTTP routes return what its Python methods leave out: the tokens of a text, the rendered template,
and a response that ends when its connection is closed. Routes: github.com/ggml-org/llama.cpp,
tools/server/README.md.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.errors import NotReady
from fleet_server.engines.llamacpp.stacks import large_stacks
from fleet_server.load_error import LoadError

GONE = "The engine is stopping; please try again."
QUIET = -1
"""A verbosity below errors: llama.cpp's own log would contain prompts."""


class Refused(Exception):
    """llama.cpp responded with an error; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(http.client.HTTPConnection):
    """A connection to the server."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)

    def post(self, route: str, body: Any) -> http.client.HTTPResponse:
        """The response, whose body has not been read. Raises Refused and OSError."""
        self.request("POST", route, json.dumps(body), {"content-type": "application/json"})
        return _accepted(self.getresponse())


class EmbeddedServer:
    """A model loaded by llama.cpp."""

    def __init__(self, params: Any) -> None:
        """Raises LoadError. `params` is an `xllamacpp.CommonParams`."""
        self.lost = False
        """Whether the server no longer accepts connections, which only a restart helps."""
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="modelfleet-llamacpp-"))
        self._path = str(self._folder / "http.sock")
        params.hostnames = [self._path]
        params.verbosity = QUIET
        params.ui = False
        params.endpoint_slots = False
        params.endpoint_metrics = True
        try:
            with large_stacks():
                self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise LoadError(
                f"llama.cpp cannot load {Path(params.model.path).name}.",
                "The file may be damaged, of an architecture that this version does not know, or "
                "too large for the memory.",
            ) from error

    def connection(self) -> Connection:
        """An open connection. Raises NotReady if the server has ended, and OSError."""
        connection = Connection(self._path)
        try:
            connection.connect()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            connection.close()
            self.lost = not self._closed
            raise NotReady(GONE, retry_after=1) from error
        return connection

    def get(self, route: str) -> Any:
        """The JSON of a GET request. Raises NotReady, Refused and OSError."""

        def send(connection: Connection) -> Any:
            connection.request("GET", route)
            return json.loads(_accepted(connection.getresponse()).read())

        return self._with_connection(send)

    def post(self, route: str, body: Any) -> Any:
        """The JSON of a POST request. Raises NotReady, Refused and OSError."""
        return self._with_connection(lambda found: json.loads(found.post(route, body).read()))

    def close(self) -> None:
        """End the server after the pass that runs, and free its memory."""
        self._closed = True
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _with_connection(self, send: Callable[[Connection], Any]) -> Any:
        connection = self.connection()
        try:
            return send(connection)
        finally:
            connection.close()


def _accepted(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if response.status == http.client.OK:
        return response
    raise Refused(response.status, message_of(response.read()))


def message_of(body: bytes) -> str:
    """The message in the JSON of an error."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return "no message"
