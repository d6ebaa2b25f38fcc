"""The command that writes the key file, read by the router's own parser."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_router.callers.keys import parse
from fleet_router.key_stores import read
from fleet_router.keys_command import app, new


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def run(file: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*arguments, "--file", str(file)])
    return done.exit_code, done.stdout, done.stderr


def test_a_new_key_is_printed_once_and_accepted_until_it_is_revoked(file: Path) -> None:
    status, key, _ = run(file, "new", "team-a", "--model", "acme/*", "--tokens-per-minute", "500")
    assert status == 0
    _, other, _ = run(file, "new", "ops", "--metrics")
    text = file.read_text()
    assert key.strip() not in text
    found = parse(text).find(key.strip().encode())
    assert found is not None
    assert (found.name, found.models, found.limits.tokens_per_minute) == ("team-a", ["acme/*"], 500)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(file, "list")[1] == "team-a\tacme/*\ttokensPerMinute=500\nops\t*\tmetrics\n"

    assert run(file, "revoke", "team-a")[0] == 0
    left = parse(file.read_text())
    assert left.find(key.strip().encode()) is None
    assert left.find(other.strip().encode()) is not None


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("keys: []", ("new", "a b"), "keys.0.name"),
        ("keys: [{name: a, sha256: SECRET}]", ("new", "b"), "keys.0.sha256"),
        ("keys: [", ("list",), "not valid YAML"),
        ("keys: []", ("revoke", "a"), "no key 'a'; its keys: none"),
        (f"keys: [{{name: a, sha256: '{'0' * 64}'}}]", ("new", "a"), "'a' appears twice"),
    ],
)
def test_what_is_wrong_changes_nothing(
    file: Path, text: str, arguments: tuple[str, ...], message: str
) -> None:
    file.write_text(text)
    status, output, error = run(file, *arguments)
    assert (status, output) == (1, "")
    assert message in error
    assert "SECRET" not in error
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_file(file: Path) -> None:
    status, _, error = run(file, "list")
    assert status == 1
    assert f"{file}: No such file" in error


def test_the_owner_is_kept(file: Path) -> None:
    """A router that runs as another user must be able to read it."""
    file.write_text("keys: []\n")
    other = 65532 if os.geteuid() == 0 else os.geteuid()
    group = other if os.geteuid() == 0 else min({*os.getgroups(), os.getegid()})
    os.chown(file, other, group)
    assert run(file, "new", "a")[0] == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (other, group)
    assert "name: a" in file.read_text()


def test_no_key_is_lost_among_several_at_once(file: Path) -> None:
    names = [f"k{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: new(name, file), names))
    assert sorted(entry["name"] for entry in read(file)) == sorted(names)
    assert list(file.parent.iterdir()) == [file]


def test_permissions_and_a_link_are_kept(file: Path) -> None:
    real = file.with_name("real.yaml")
    real.write_text("keys: []\n")
    real.chmod(0o640)
    file.symlink_to(real)
    assert run(file, "new", "a")[0] == 0
    assert file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "name: a" in real.read_text()
