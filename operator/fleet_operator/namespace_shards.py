"""Reads which shards the labels of Namespaces choose, and notices when that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_kube.retries import until_settled
from fleet_operator.kinds import NAMESPACE
from fleet_operator.names import LABEL_SHARD
from fleet_operator.shard import Shard, placements
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)


class NamespaceShards:
    """`shard` has the labels that were read last. Without `enabled`, none are read."""

    def __init__(self, api: KubeClient, shard: Shard, enabled: bool) -> None:
        self._api = api
        self._enabled = enabled and shard.total > 1
        self._invalid: Mapping[str, str] = {}
        self._error = ""
        self.shard = shard

    async def read_first(self) -> None:
        """Read the labels, waiting for the API server; without permission the hash applies."""
        if self._enabled:
            try:
                await until_settled(self._read, self._log)
            except ApiError as error:
                self._log(error)

    async def until_changed(self, interval: float) -> None:
        """Return once a label changes which shard serves a namespace; reads every `interval` s."""
        before = self.shard
        while self.shard == before:
            await asyncio.sleep(interval)
            if self._enabled:
                try:
                    await self._read()
                except KubeError as error:  # the labels read last stay in force
                    self._log(error)
        log(logger, "namespaces_moved", placed=len(self.shard.placed))

    async def _read(self) -> None:
        found = await self._api.items(NAMESPACE, None, LABEL_SHARD, metadata_only=True)
        placed, invalid = placements((item["metadata"] for item in found), self.shard.total)
        for name, value in invalid.items():
            # Of all shards, only the one that serves it.
            if self._invalid.get(name) != value and self.shard.owns(name):
                log(logger, "shard_label_invalid", level=logging.WARNING, namespace=name,
                    value=value, hint=f"must be 0 to {self.shard.total - 1}; the hash of the name"
                    " applies")  # fmt: skip
        self._invalid, self._error = invalid, ""
        self.shard = replace(self.shard, placed=placed)

    def _log(self, error: KubeError) -> None:
        """Log an error once, until it changes."""
        if str(error) != self._error:
            self._error = str(error)
            log(logger, "namespaces_not_listed", level=logging.WARNING, error=self._error)
