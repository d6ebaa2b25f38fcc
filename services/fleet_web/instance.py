"""Names the started process in responses to probes, so that no other one is taken for it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fleet_contract.names import ENV_INSTANCE, HEADER_INSTANCE


def probe_headers() -> Mapping[str, str]:
    """The headers of a response to a probe; none if no supervisor started this process."""
    instance = os.environ.get(ENV_INSTANCE, "")
    return {HEADER_INSTANCE: instance} if instance.isalnum() else {}
