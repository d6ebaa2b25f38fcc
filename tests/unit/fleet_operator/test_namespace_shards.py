"""Labels of Namespaces that choose a shard, read from the API server."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.kind import Kind
from fleet_operator import namespace_shards
from fleet_operator.namespace_shards import NamespaceShards
from fleet_operator.shard import Shard

FORBIDDEN = ApiError(403, "Forbidden", "namespaces is forbidden")


class Api:
    """Lists with the next of `answers`, the last for ever: labels by namespace, or an error."""

    def __init__(self, *answers: dict[str, str] | KubeError) -> None:
        self._answers = list(answers)
        self.lists = 0

    async def items(
        self, kind: Kind, namespace: None, selector: str, metadata_only: bool
    ) -> list[dict[str, Any]]:
        assert (kind.plural, selector, metadata_only) == (
            "namespaces",
            "modelfleet.dev/shard",
            True,
        )
        self.lists += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, KubeError):
            raise answer
        return [{"metadata": {"name": name, "labels": {selector: value}}}
                for name, value in answer.items()]  # fmt: skip


def shards(*answers: dict[str, str] | KubeError, shard: str = "0/2") -> NamespaceShards:
    return NamespaceShards(cast(KubeClient, Api(*answers)), Shard.parse(shard), enabled=True)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, without waiting."""
    found: list[float] = []
    really = asyncio.sleep

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await really(0)

    monkeypatch.setattr(namespace_shards.asyncio, "sleep", sleep)
    return found


@pytest.mark.parametrize(
    ("answers", "placed", "waits"),
    [
        (({"a": "1", "b": "0"},), {"a": 1, "b": 0}, []),
        ((FORBIDDEN,), {}, []),
        ((ApiUnreachable("refused"), {"a": "1"}), {"a": 1}, [2.0]),
        ((ApiError(429, "TooManyRequests", "", 7.0), {"a": "1"}), {"a": 1}, [7.0]),
        ((ApiError(401, "Unauthorized", ""), {"a": "1"}), {"a": 1}, [2.0]),
    ],
)
async def test_only_a_refusal_leaves_the_labels_unread(
    answers: tuple[Any, ...], placed: dict[str, int], waits: list[float], slept: list[float]
) -> None:
    found = shards(*answers)
    await found.read_first()
    assert found.shard == Shard(0, 2, placed)
    assert slept == waits


async def test_a_change_is_noticed_and_errors_change_nothing(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    errors = FORBIDDEN, FORBIDDEN, ApiUnreachable("gone")
    found = shards({"a": "1"}, {"a": "1"}, *errors, {"a": "0"})
    await found.read_first()
    await found.until_changed(30)
    assert found.shard.placed == {"a": 0}
    assert slept == [30] * 5
    assert caplog.messages.count("namespaces_not_listed") == 2


async def test_invalid_labels_are_logged_once_by_the_shard_that_serves_the_namespace(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    both = [shards({"a": "2"}, {"a": "2"}, {"a": "2", "b": "0"}, shard=f"{index}/2")
            for index in range(2)]  # fmt: skip
    for one in both:
        await one.read_first()
        await one.until_changed(30)
        assert one.shard.placed == {"b": 0}
    (record,) = [one for one in caplog.records if one.getMessage() == "shard_label_invalid"]
    assert vars(record)["fields"]["namespace"] == "a"


@pytest.mark.parametrize(("shard", "enabled"), [("", True), ("0/2", False)])
async def test_without_shards_of_all_namespaces_nothing_is_listed(
    shard: str, enabled: bool, slept: list[float]
) -> None:
    api = Api(FORBIDDEN)
    found = NamespaceShards(cast(KubeClient, api), Shard.parse(shard), enabled)
    await found.read_first()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await found.until_changed(30)
    assert slept
    assert api.lists == 0
