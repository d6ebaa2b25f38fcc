"""Keys in a Secret of a cluster; those in files are in test_keys_command.py."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from typer.testing import CliRunner

from fleet_router.callers.keys import parse
from fleet_router.keys_command import app


class Secrets:
    """The Secrets of the namespace `fleet`; with `conflicts`, as many patches are refused first."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.conflicts = 0
        self.app = FastAPI(openapi_url=None)
        path = "/api/v1/namespaces/fleet/secrets"
        self.app.add_api_route(path, self.create, methods=["POST"])
        self.app.add_api_route(f"{path}/{{name}}", self.get)
        self.app.add_api_route(f"{path}/{{name}}", self.patch, methods=["PATCH"])

    async def create(self, request: Request) -> Any:
        body = await request.json()
        body["metadata"]["resourceVersion"] = "1"
        self.known[body["metadata"]["name"]] = body
        return JSONResponse(body, 201)

    async def get(self, name: str) -> Any:
        return self.known.get(name) or JSONResponse({"reason": "NotFound", "message": name}, 404)

    async def patch(self, name: str, request: Request) -> Any:
        body, found = await request.json(), self.known[name]
        version = found["metadata"]["resourceVersion"]
        assert body["metadata"].pop("resourceVersion") == version
        if self.conflicts:
            self.conflicts -= 1
            found["metadata"]["resourceVersion"] = str(int(version) + 1)
            return JSONResponse({"reason": "Conflict", "message": "changed"}, 409)
        found["data"] |= body["data"]
        return found

    def text(self, name: str = "keys") -> str:
        return base64.b64decode(self.known[name]["data"]["keys.yaml"]).decode()


@pytest.fixture
def secrets(listen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
    found = Secrets()
    with listen(found.app) as port:
        path = tmp_path / "kubeconfig"
        context = {"cluster": "c", "user": "u", "namespace": "fleet"}
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": context}],
        }))  # fmt: skip
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setenv("KEYS_FILE", str(tmp_path / "none.yaml"))
        yield found


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*arguments, "--secret", "keys"])
    return done.exit_code, done.stdout, done.stderr


def test_a_secret_is_made_and_changed(secrets: Secrets) -> None:
    status, key, _ = run("new", "team-a", "--manage")
    assert status == 0
    found = parse(secrets.text()).find(key.strip().encode())
    assert found is not None
    assert (found.name, found.manage) == ("team-a", True)
    assert key.strip() not in secrets.text()
    secrets.conflicts = 2
    assert run("new", "team-b")[0] == 0
    assert run("list")[1] == "team-a\t*\tmanage\nteam-b\t*\n"
    assert run("revoke", "team-a")[0] == 0
    assert run("list")[1] == "team-b\t*\n"


def test_what_cannot_be_changed(secrets: Secrets) -> None:
    assert "no such Secret" in run("list")[2]
    run("new", "a")
    secrets.conflicts = 99
    status, output, error = run("new", "b")
    assert (status, output) == (1, "")
    assert error == "modelfleet keys: Secret keys: 409 Conflict: changed\n"
    secrets.known["keys"]["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    status, output, error = run("new", "c")
    assert (status, output) == (1, "")
    assert "managed by Helm" in error
    secrets.known["keys"]["data"]["keys.yaml"] = base64.b64encode(b"keys: 3").decode()
    assert run("list")[0] == 1


def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYS_FILE", raising=False)
    done = CliRunner().invoke(app, ["list"])
    assert done.exit_code == 2
    assert "--file (KEYS_FILE), or a --secret" in done.stderr
