"""Lines of one turn of the event loop are written together, in order, and none is lost."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Iterator

import pytest

from fleet_web.logs import MAX_LINES, BatchingHandler


class Stream(io.StringIO):
    """Counts writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def logger(stream: Stream) -> Iterator[logging.Logger]:
    made = logging.Logger("turns", logging.INFO)
    handler = BatchingHandler(stream)
    made.addHandler(handler)
    yield made
    handler.close()


async def test_a_turn_is_one_write(logger: logging.Logger, stream: Stream) -> None:
    for number in range(3):
        logger.info("%d", number)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert stream.getvalue() == "0\n1\n2\n"
    assert stream.writes == 1
    logger.info("next turn")
    await asyncio.sleep(0)
    assert stream.getvalue().endswith("2\nnext turn\n")


async def test_warnings_are_written_at_once(logger: logging.Logger, stream: Stream) -> None:
    logger.info("before")
    logger.warning("now")
    assert stream.getvalue() == "before\nnow\n"


async def test_the_number_of_kept_lines_is_bounded(logger: logging.Logger, stream: Stream) -> None:
    for _ in range(MAX_LINES + 1):
        logger.info("line")
    assert stream.getvalue() == "line\n" * MAX_LINES


def test_without_a_loop_lines_are_written_at_once(logger: logging.Logger, stream: Stream) -> None:
    logger.info("alone")
    assert stream.getvalue() == "alone\n"


async def test_another_thread_keeps_the_order(logger: logging.Logger, stream: Stream) -> None:
    logger.info("loop")
    thread = threading.Thread(target=logger.info, args=("thread",))
    thread.start()
    thread.join()
    logger.info("end")
    logger.handlers[0].flush()
    assert stream.getvalue() == "loop\nthread\nend\n"
