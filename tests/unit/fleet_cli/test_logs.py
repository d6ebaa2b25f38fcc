"""`modelfleet logs`: which files, their last lines, and what is added."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_cli.logs import log_files, printed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    specs = [{"model": "acme/chat", "aliases": ["chat"]}, {"model": "acme/two"}, {"model": "c"},
             {"model": "acme/two-1b"}, {"model": "acme/two-3"}]  # fmt: skip
    (tmp_path / "routes.json").write_text(json.dumps({"models": [{"spec": s} for s in specs]}))
    for name in ("router", "acme--chat", "acme--two-1", "acme--two-2", "acme--two-1b",
                 "acme--two-3"):  # fmt: skip
        (tmp_path / f"{name}.log").write_text(f"{name} 1\n{name} 2\n{name} not comple")
    return tmp_path


def names(files: list[Path]) -> list[str]:
    return [path.stem for path in files]


def test_files_of_a_model(folder: Path) -> None:
    assert names(log_files(folder, "router")) == ["router"]
    assert names(log_files(folder, "chat")) == names(log_files(folder, "acme/chat"))
    assert names(log_files(folder, "acme/two")) == ["acme--two-1", "acme--two-2"]
    assert names(log_files(folder, "acme/two-1b")) == ["acme--two-1b"]
    for model, words in (("c", "no log yet"), ("d", "its models: acme/chat, acme/two, c")):
        with pytest.raises(ValueError, match=words):
            log_files(folder, model)
    with pytest.raises(ValueError, match="no fleet"):
        log_files(folder / "none", "c")


@pytest.mark.parametrize(
    ("number", "expected"), [(9, ["router 1", "router 2"]), (1, ["router 2"]), (0, [])]
)
def test_last_lines(folder: Path, number: int, expected: list[str]) -> None:
    assert list(printed(lambda: [folder / "router.log"], number, follow=False)) == expected


def test_following_files(folder: Path) -> None:
    files = log_files(folder, "acme/two")

    def append() -> None:
        with files[0].open("a") as file:
            file.write("te\nnext\n")

    steps = iter([append, lambda: files[1].write_text("cut\n"), files[1].unlink])
    lines = printed(
        lambda: log_files(folder, "acme/two"),
        1,
        follow=True,
        sleep=lambda seconds: next(steps)() and None,
    )
    assert [next(lines) for _ in range(5)] == [
        "acme--two-1 | acme--two-1 2", "acme--two-2 | acme--two-2 2",
        "acme--two-1 | acme--two-1 not complete", "acme--two-1 | next", "acme--two-2 | cut",
    ]  # fmt: skip


def test_servers_that_start_later_are_followed(folder: Path) -> None:
    later = folder / "acme--chat-2.log"
    steps = iter([lambda: later.write_text("ready\n"), (folder / "routes.json").unlink])
    lines = printed(lambda: log_files(folder, "chat"), 1, follow=True,
                    sleep=lambda seconds: next(steps)() and None)  # fmt: skip
    assert [next(lines), next(lines)] == ["acme--chat 2", "acme--chat-2 | ready"]
    with pytest.raises(RuntimeError):  # the routes are gone, and there is no further step
        next(lines)
