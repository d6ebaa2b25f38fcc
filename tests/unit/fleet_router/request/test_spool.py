"""The file of an upload is closed whatever happens to the request."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from fleet_router.request.spool import MEMORY_BYTES, Spool
from fleet_web.request_body.byte_budget import ByteBudget


async def test_it_is_closed_though_the_request_is_cancelled_while_it_waits_for_a_thread() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    memory, disk = ByteBudget(1 << 30), ByteBudget(1 << 30)
    spool = Spool(memory.reserve("caller"), disk.reserve("caller"))
    size = MEMORY_BYTES + 1
    spool.count(size)
    await spool.add(bytes(size))
    file = spool._file
    assert file is not None
    busy = threading.Event()
    blocked = asyncio.ensure_future(asyncio.to_thread(busy.wait))
    closing = asyncio.ensure_future(spool.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    busy.set()
    await blocked
    await asyncio.to_thread(lambda: None)  # the only thread has closed the file before
    await asyncio.sleep(0)
    assert file.closed
    assert (memory.left, disk.left) == (memory.limit, disk.limit)
