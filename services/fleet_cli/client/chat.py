"""`modelfleet chat MODEL`: a conversation in the terminal, or one prompt per line of a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_cli.client.conversation import Conversation, data_url
from fleet_cli.client.options import KEY_ENV, LOCAL, TIMEOUT_SECONDS, BaseUrl, KeyEnv, Timeout
from fleet_cli.client.output import complain, errors, safe, tolerant_streams

if TYPE_CHECKING:
    from fleet_cli.client.server import Server

PROMPT = ">>> "
COMMANDS = "/system TEXT, /image PATH, /clear, /quit"
INTERRUPTED = 130

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="Id or alias of the model.")],
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    image: Annotated[
        list[Path] | None,
        typer.Option(help="Image file sent with the first prompt, for vision models; repeatable."),
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of each answer.")] = None,
    base_url: BaseUrl = LOCAL,
    api_key_env: KeyEnv = KEY_ENV,
    timeout: Timeout = TIMEOUT_SECONDS,
) -> None:
    """Chat with a model; Ctrl-C ends an answer, Ctrl-D the chat.

    Where standard input or output is no terminal, each line of the input is a prompt, and only
    answers are written to the output. Commands: /system TEXT, /image PATH, /clear, /quit.
    """
    from fleet_cli.client.server import Server

    tolerant_streams()
    conversation = Conversation(model, system, temperature, max_tokens)
    with errors("chat"):
        for path in image or ():
            conversation.images.append(_image(path))
        with Server(base_url, api_key_env, timeout) as server:
            session = Session(server, conversation, sys.stdin.isatty() and sys.stdout.isatty())
            raise typer.Exit(session.run())


class Session:
    """Reads prompts and prints answers; `interactive` in a terminal."""

    def __init__(self, server: Server, conversation: Conversation, interactive: bool) -> None:
        self._server = server
        self._conversation = conversation
        self._interactive = interactive
        self._failed = False

    def run(self) -> int:
        """The exit status: 1 if a line failed, outside a terminal."""
        if self._interactive:
            with contextlib.suppress(ImportError):  # not on Windows
                import readline  # noqa: F401  (editing and recall of lines by `input`)
            print(f"{COMMANDS}; Ctrl-C ends an answer, Ctrl-D the chat.")
        while True:
            try:
                line = self._line()
                if line is None or not self._handle(line.strip()):
                    break
            except KeyboardInterrupt:
                if not self._interactive:
                    return INTERRUPTED
                print()
        return int(self._failed and not self._interactive)

    def _line(self) -> str | None:
        """The next line, None at the end of the input."""
        if not self._interactive:
            return sys.stdin.readline() or None
        try:
            return input(PROMPT)
        except EOFError:
            print()
            return None

    def _handle(self, line: str) -> bool:
        """Carry out a command or answer a prompt; False after /quit."""
        from fleet_cli.client.server import RequestFailed

        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._command(*line[1:].partition(" ")[::2])
            if line:
                self._answer(line.removeprefix("/"))
        except (RequestFailed, ValueError) as error:
            self._failed = True
            complain("chat", error)
        return True

    def _command(self, name: str, text: str) -> bool:
        match name:
            case "quit" | "exit" | "bye":
                return False
            case "clear":
                self._conversation.clear()
            case "system":
                self._conversation.system = text.strip()
            case "image":
                self._conversation.images.append(_image(Path(text.strip()).expanduser()))
            case _:
                raise ValueError(
                    f"unknown command /{name}; known are {COMMANDS}. "
                    "Begin a prompt with // if its first character is a slash."
                )
        return True

    def _answer(self, prompt: str) -> None:
        """Stream the answer to the output. Raises RequestFailed; a partial answer is kept."""
        self._conversation.add_prompt(prompt)
        pieces: list[str] = []
        reason = None
        thinking = False
        try:
            for event in self._server.events("/chat/completions", self._conversation.body()):
                text, thought, ended = delta(event)
                reason = ended or reason
                if thought and self._interactive:
                    self._write_thought(thought)
                    thinking = True
                if text:
                    if thinking:
                        print()
                        thinking = False
                    pieces.append(text)
                    self._write(text)
        finally:
            self._conversation.add_answer("".join(pieces))
            if pieces or reason:
                print(flush=True)
        if reason == "length":
            print("(the answer reached the limit of tokens)", file=sys.stderr)

    def _write(self, text: str) -> None:
        print(safe(text) if self._interactive else text, end="", flush=True)

    def _write_thought(self, text: str) -> None:
        """Print a piece of the model's reasoning, dimmed."""
        plain = safe(text)
        print(plain if os.environ.get("NO_COLOR") else f"\x1b[2m{plain}\x1b[0m", end="", flush=True)


def delta(event: dict[str, Any]) -> tuple[str, str, str | None]:
    """Text, reasoning and finish reason of the first choice of a chunk; empty where it has none."""
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return "", "", None
    found = first.get("delta")
    given = found if isinstance(found, dict) else {}
    text = given.get("content") or given.get("refusal")
    thought = given.get("reasoning_content") or given.get("reasoning")
    reason = first.get("finish_reason")
    return (
        text if isinstance(text, str) else "",
        thought if isinstance(thought, str) else "",
        reason if isinstance(reason, str) else None,
    )


def _image(path: Path) -> str:
    try:
        return data_url(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ValueError(f"{path}: {reason}") from None
