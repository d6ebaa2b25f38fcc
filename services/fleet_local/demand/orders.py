"""Orders of `modelfleet load`, `unload` and `scale` to a fleet on this machine.

An order is a file in the folder `orders` of the fleet, `{"model": "<id>", "servers": null}`: who
may write there may start and stop its models. The fleet reads and deletes it within a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path

from fleet_contract.api.control import Order

FOLDER = "orders"
MAX_BYTES = 4096


def give(folder: Path, order: Order) -> Path:
    """Write an order to the fleet whose files are in `folder`; the file, which the fleet deletes.
    Raises OSError."""
    orders = folder / FOLDER
    orders.mkdir(exist_ok=True)
    name = uuid.uuid4().hex
    new, path = orders / f"{name}.new", orders / f"{name}.json"
    new.write_text(json.dumps(order.to_json()))
    os.replace(new, path)
    return path


def take(folder: Path) -> list[Order]:
    """The orders, which are deleted; files with another content are deleted too."""
    found: list[Order] = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
            found.append(Order.parse(json.loads(file.read(MAX_BYTES))))
        with contextlib.suppress(OSError):
            path.unlink()
    return found
