"""Bounds, marks and the command of the traffic driver."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from traffic import Driver, Embeddings, Plan, Transcription, WholeChat
from traffic.__main__ import main
from traffic.driver import Stalled

CHAT = WholeChat("m")


def test_it_ends_after_the_number_of_requests(stub: Any) -> None:
    with Driver(Plan(stub.url, rate=1000, max_requests=7), [CHAT]) as driver:
        driver.wait_for_end()
        with pytest.raises(Stalled, match="7 requests, 0 failed"):
            driver.wait_for_requests(1)
        assert driver.ended
    assert len(stub.how.bodies) == 7


def test_the_configured_host_header_is_sent(stub: Any) -> None:
    with Driver(
        Plan(stub.url, rate=1000, max_requests=2, host="models.example.com"), [CHAT]
    ) as driver:
        driver.wait_for_end()
    assert stub.how.hosts == {"models.example.com"}


def test_it_ends_after_the_time(stub: Any) -> None:
    with (
        Driver(Plan(stub.url, rate=50, seconds=1), [CHAT]) as driver,
        pytest.raises(Stalled, match="no 1000 more requests"),
    ):
        driver.wait_for_requests(1000)
    assert 1 <= len(stub.how.bodies) <= 51


def test_concurrency_is_bounded(stub: Any) -> None:
    stub.how.gate = threading.Event()
    with Driver(Plan(stub.url, rate=1000, concurrency=3), [CHAT]) as driver:
        driver.wait_for_running(3)
        with pytest.raises(Stalled):
            driver.wait_for_running(4, seconds=0.2)
        stub.how.gate.set()
    assert driver.report().clean


def test_a_mark_has_the_requests_that_ran_during_it(stub: Any) -> None:
    with Driver(Plan(stub.url, rate=1000, concurrency=1), [CHAT]) as driver:
        with driver.mark("quiet"):
            driver.wait_for_requests(3)
        driver.wait_for_requests(
            1
        )  # requests that ran at the end of the mark, and belong to it, complete
        stub.how.gate = threading.Event()
        driver.wait_for_running()
        stub.how.status = 503
        with driver.mark("storm"):
            stub.how.gate.set()
            driver.wait_for_requests(3)
        stub.how.status = 200
    report = driver.report()
    assert report.slices["quiet"]["chat"].failed == 0
    storm = report.slices["storm"]["all"]
    assert storm.failed >= 3
    assert report.failed == report.slices["whole"]["all"].failed == storm.failed
    assert "HTTP 503" in str(report)


def test_latencies_are_those_of_valid_responses(stub: Any) -> None:
    stub.how.status = 500
    with Driver(Plan(stub.url, rate=1000), [CHAT]) as driver:
        driver.wait_for_requests(2)
    assert driver.report().slices["whole"]["chat"].p50 is None
    stub.how.status = 200
    with Driver(Plan(stub.url, rate=1000), [CHAT]) as driver:
        driver.wait_for_requests(2)
    found = driver.report().slices["whole"]["chat"]
    assert found.p50 is not None
    assert found.maximum is not None
    assert 0 < found.p50 <= found.maximum


def test_nothing_sent_is_not_clean(stub: Any) -> None:
    stub.how.gate = threading.Event()
    with Driver(Plan(stub.url), [CHAT]) as driver:
        assert not driver.report().clean
        stub.how.gate.set()


def test_the_form_of_a_recording(stub: Any) -> None:
    with Driver(
        Plan(stub.url, max_requests=1), [Transcription("w", b"RIFFdata", ("france",))]
    ) as driver:
        driver.wait_for_end()
    (body,) = stub.how.bodies
    assert b"RIFFdata" in body
    assert b'name="model"\r\n\r\nw\r\n' in body


def test_invalid_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rate must be above 0"):
        Plan("http://x", rate=0)
    with pytest.raises(ValueError, match="no kinds"):
        Driver(Plan("http://x"), [])


def test_an_address_with_or_without_its_v1() -> None:
    assert Plan("http://x/").root == Plan("http://x/v1").root == "http://x/v1"


def test_the_command(stub: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "speech.wav"
    recording.write_bytes(b"RIFF")
    arguments = ["--chat", "m", "--embedding", "m", "--dimensions", "2", "--speech", "m"]
    arguments += ["--recording", str(recording), "--words", "capital france", "--rate", "100"]
    assert main([stub.url, *arguments, "--max-requests", "8"], orders=["begin all", "end all"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["failed"], report["truncated"]) == (8, 0, 0)
    assert set(report["slices"]) == {"whole", "all"}
    stub.how.status = 500
    assert main([stub.url, "--embedding", "m", "--max-requests", "1"], orders=[]) == 1
    assert "HTTP 500" in capsys.readouterr().out
    assert main([stub.url]) == 2


def test_the_command_stops_on_request(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([stub.url, "--embedding", "m"], orders=["stop"])
    assert json.loads(capsys.readouterr().out)["failed"] == 0
    assert status in (0, 1)


def test_kinds_take_turns(stub: Any) -> None:
    kinds = [CHAT, Embeddings("m")]
    with Driver(Plan(stub.url, rate=1000, concurrency=1, max_requests=6), kinds) as driver:
        driver.wait_for_end()
    paths = [b"messages" in body for body in stub.how.bodies]
    assert paths == [True, False] * 3
