"""The models and keys of a router with a console."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import LiveRoutes, Origin, Route, RouteTable
from support.console_client import SECRET


@pytest.fixture
def routes() -> LiveRoutes:
    live = LiveRoutes()
    chat = ModelSpec.model_validate(
        {"model": "acme/chat", "aliases": ["chat"], "scaleToZeroAfter": 60,
         "source": f"https://u:{SECRET}@host/w?t={SECRET}",
         "env": {"PASSWORD": SECRET, "MAX_BATCH_SIZE": "4"},
         "files": [{"path": "/x", "content": SECRET}]}
    )  # fmt: skip
    conditions = Origin("team", "chat")
    live.swap(
        RouteTable.build(
            [Route(chat, origin=conditions, phase=Phase.PROGRESSING, reason="Pulling"),
             Route(ModelSpec(model="other/chat", task="chat"))]
        )
    )  # fmt: skip
    return live


@pytest.fixture
def auth(tmp_path: Path) -> Auth:
    path = tmp_path / "keys.yaml"
    more: dict[str, dict[str, Any]] = {
        "some": {"models": ["acme/*"], "limits": {"requestsPerMinute": 60}},
        "another": {}, "monitor": {"metrics": True}, "boss": {"manage": True, "models": ["acme/*"]},
    }  # fmt: skip
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **fields}
        for name, fields in more.items()
    ]
    path.write_text(yaml.safe_dump({"keys": keys}))
    auth = Auth(path)
    auth.load()
    return auth
