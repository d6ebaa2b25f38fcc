"""The syntax of a family's tool calls: the marks around a block of calls, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_server.generation.tool_grammars.rules import WholeText, WriteCall
from fleet_server.generation.tool_parsers.call import Call, NewId, Schemas, long_id

Read = Callable[[str, Schemas], list[Call] | None]
"""The calls in a block without its marks; None if it is anything else."""


def always(block: str) -> bool:
    """A block may end anywhere."""
    return True


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a grammar writes a block of calls.

    The JSON arguments of a call are between `head`, in which NAME is replaced, and `tail`; calls
    are between `begin` and `end`, separated by `between`, or None if there is only one. `write`
    writes calls in another syntax than JSON.
    """

    head: str
    tail: str = ""
    begin: str = ""
    between: str | None = None
    end: str = ""
    write: WriteCall | None = None

    @property
    def lead(self) -> str:
        """The first letter of a block."""
        return (self.begin + self.head)[0]


NAME = "NAME"
"""Stands for the name of a function; not in any mark."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """`opens` begin a block anywhere in a text, `leads` only at its beginning, where they are part
    of the block. A block ends with `close`, if `may_end` holds for what precedes it, or with the
    text. `tokens` are further special tokens within a block. `form` is how a grammar writes blocks,
    `whole` how it writes the whole text of a model whose calls are messages of their own.
    """

    name: str
    opens: tuple[str, ...]
    read: Read
    close: str | None = None
    leads: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    may_end: Callable[[str], bool] = always
    new_id: NewId = long_id
    form: CallForm | None = None
    whole: WholeText | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """All texts that may be special tokens."""
        return (*self.opens, *((self.close,) if self.close else ()), *self.tokens)
