"""Orders of `modelfleet load` and `unload` to a fleet on this machine.

An order is a file in the folder `orders` of the fleet, `{"model": "<id>", "load": true}`: who may
write there may start and stop its models. The fleet reads and deletes it within a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

FOLDER = "orders"
MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """Start the model `model` (an id), or stop it."""

    model: str
    load: bool


def give(folder: Path, order: Order) -> Path:
    """Write an order to the fleet whose files are in `folder`; the file, which the fleet deletes.
    Raises OSError."""
    orders = folder / FOLDER
    orders.mkdir(exist_ok=True)
    name = uuid.uuid4().hex
    new, path = orders / f"{name}.new", orders / f"{name}.json"
    new.write_text(json.dumps({"model": order.model, "load": order.load}))
    os.replace(new, path)
    return path


def take(folder: Path) -> list[Order]:
    """The orders, which are deleted; files with another content are deleted too."""
    found: list[Order] = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            with path.open("rb") as file:
                order = json.loads(file.read(MAX_BYTES))
            found.append(Order(str(order["model"]), order["load"] is True))
        with contextlib.suppress(OSError):
            path.unlink()
    return found
