"""Signals that are sent to this process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from fleet_local.processes.stop_signals import SIGNALS, StopSignals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """SIGHUP as a terminal leaves it, and everything as before afterwards."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def handled() -> None:
    """Until the loop has handled every signal before this one: it keeps their order."""
    seen, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    async with asyncio.timeout(30):
        await seen.wait()
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_fleet_under_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = StopSignals(lambda: None)
    signals.install()
    loop = asyncio.get_running_loop()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await handled()
        assert not signals.stopping.is_set()
    finally:
        for one in SIGNALS:
            loop.remove_signal_handler(one)


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_first_signal_stops_and_only_a_second_ctrl_c_forces(
    number: signal.Signals,
) -> None:
    forced = asyncio.Event()
    signals = StopSignals(forced.set)
    signals.install()
    loop = asyncio.get_running_loop()
    try:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            await signals.stopping.wait()
        assert not forced.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        await handled()
        assert not forced.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await forced.wait()
    finally:
        for one in SIGNALS:
            loop.remove_signal_handler(one)
