"""Ports, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fleet_local.errors import StartError
from fleet_local.processes import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_refused_with_what_to_do(taken: int) -> None:
    assert not ports.is_free(taken)
    with pytest.raises(StartError) as caught:
        ports.require_free(ports.LOOPBACK, taken)
    assert str(taken) in caught.value.message
    assert "another process" in caught.value.message
    assert f"--port {taken + 1}" in caught.value.hint


def test_a_port_taken_on_loopback_is_taken_for_every_address(taken: int) -> None:
    with pytest.raises(StartError):
        ports.require_free("0.0.0.0", taken)


def test_a_port_that_was_just_closed_is_free() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((ports.LOOPBACK, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # this end closes first, so it is the one that lingers
            client.recv(1)
    ports.require_free(ports.LOOPBACK, port)


def test_a_reserved_port_is_taken_and_refuses_connections() -> None:
    port = ports.pick()
    reservation = ports.reserve(ports.LOOPBACK, port)
    with pytest.raises(StartError, match="another process"):
        ports.reserve(ports.LOOPBACK, port)
    with pytest.raises(StartError, match="another process"):
        ports.require_free("0.0.0.0", port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ports.LOOPBACK, port))
    reservation.release()
    reservation.release()
    ports.require_free(ports.LOOPBACK, port)


def test_a_port_with_old_connections_is_free() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((ports.LOOPBACK, port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)
    ports.reserve(ports.LOOPBACK, port).release()


@pytest.mark.parametrize(
    ("host", "words"), [("no.such.host.invalid", "not an address"), ("192.0.2.1", "does not have")]
)
def test_an_address_of_another_machine_is_refused(host: str, words: str) -> None:
    with pytest.raises(StartError, match=words):
        ports.require_free(host, 18000)


def test_picked_ports_are_free_and_differ() -> None:
    picked: list[int] = []
    for _ in range(20):
        picked.append(ports.pick(picked))
    assert len(set(picked)) == 20
    assert all(port in ports.SERVER_PORTS and ports.is_free(port) for port in picked)


def test_a_port_in_use_is_not_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.pick()
    with socket.create_server((ports.LOOPBACK, first)):
        monkeypatch.setattr(ports, "SERVER_PORTS", range(first, first + 1))
        with pytest.raises(StartError, match="is free"):
            ports.pick()


@pytest.mark.parametrize(
    ("host", "display"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")],
)
def test_where_clients_reach_the_router(host: str, display: str) -> None:
    assert ports.client_host(host) == display
