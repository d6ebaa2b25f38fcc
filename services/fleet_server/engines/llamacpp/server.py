"""llama.cpp's server in this process, reached over a private Unix socket.

`xllamacpp.Server` always listens, and replaces the process's handlers of SIGINT and SIGTERM. Its
HTTP routes return what its Python methods leave out: the tokens of a text, the rendered template,
and a response that ends when its connection is closed. Routes: github.com/ggml-org/llama.cpp,
tools/server/README.md.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import selectors
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.errors import NotReady
from fleet_server.engines.llamacpp.sleep import Sleep
from fleet_server.engines.llamacpp.stacks import large_stacks
from fleet_server.load_error import LoadError
from fleet_weights import gguf_names

GONE = "The engine is stopping; please try again."
TASK = "/lora-adapters"
"""A route whose task uses no model."""
NOTICED_SECONDS = 2.0
"""Longer than a task takes whose server is neither busy nor asleep."""
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
        """Whether only a restart helps: it accepts no connections, or its files were replaced."""
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="modelfleet-llamacpp-"))
        self._path = str(self._folder / "http.sock")
        params.hostnames = [self._path]
        params.verbosity = QUIET
        params.ui = False
        params.endpoint_slots = False
        params.endpoint_metrics = True
        self._files = files_read(params)
        self._loaded = identities(self._files)
        self._sleep = Sleep(params.sleep_idle_seconds, self._wake)
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
        """An open connection, for a request that is sent now; the model is loaded first if it has
        been unloaded. Raises NotReady if the server has ended, and OSError."""
        self._sleep.prevent()
        return self._opened()

    @property
    def may_unmap(self) -> bool:
        """Whether the file of the model may be mapped or unmapped at any moment."""
        return self._sleep.is_near

    @property
    def is_asleep(self) -> bool:
        """Whether the model is unloaded. Raises NotReady, Refused and OSError."""
        with contextlib.closing(self._opened()) as connection:
            connection.request("GET", "/props")
            return bool(json.loads(_accepted(connection.getresponse()).read())["is_sleeping"])

    def release(self) -> None:
        """Wait until llama.cpp unloads the model, whose seconds without a request end soon."""
        self._sleep.wait(lambda: self.is_asleep)

    def _wake(self) -> None:
        """Raises NotReady if the files have been replaced or removed: llama.cpp would load the new
        ones, with the vocabulary and the template of the old ones here, or end the process."""
        if identities(self._files) != self._loaded and self.is_asleep:
            self.lost = not self._closed
            raise NotReady(GONE, retry_after=1)
        make_task(self._opened)

    def _opened(self) -> Connection:
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


def files_read(params: Any) -> list[Path]:
    """The files that llama.cpp reads whenever it loads the model: all parts of the model, and its
    projector, draft model and adapters."""
    model = Path(params.model.path)
    others = [params.mmproj.path, params.speculative.draft.mparams.path]
    others += [adapter.path for adapter in params.lora_adapters]
    parts = [model.with_name(name) for name in gguf_names.parts(model.name)]
    return parts + [Path(name) for name in others if name]


def identities(files: Sequence[Path]) -> list[tuple[int, ...] | None]:
    """What changes when a file is replaced or written; None for one that is missing."""
    found: list[tuple[int, ...] | None] = []
    for path in files:
        try:
            known = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns))
    return found


def make_task(opened: Callable[[], Connection], noticed: float = NOTICED_SECONDS) -> None:
    """Have the server do a task that uses no model, which wakes it if it sleeps.

    The task is made again on another connection each time it has not ended after `noticed` seconds,
    then twice as many, and so on. Raises what `opened` does, Refused and OSError.
    """
    with ExitStack() as until_done, selectors.DefaultSelector() as selector:
        done: list[tuple[selectors.SelectorKey, int]] = []
        while not done:
            connection = until_done.enter_context(contextlib.closing(opened()))
            connection.request("GET", TASK)
            selector.register(connection.sock, selectors.EVENT_READ, connection)
            done = selector.select(noticed)
            noticed *= 2
        _accepted(done[0][0].data.getresponse()).read()


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
