"""Errors of the Kubernetes client."""

from __future__ import annotations

UNAUTHORIZED = 401


class ConfigError(ValueError):
    """No usable configuration of a cluster; the message names the file and the problem."""


class KubeError(Exception):
    """A request failed."""


class ApiUnreachable(KubeError):
    """No response: connection, timeout, credentials that cannot be loaded, or a broken stream."""


class ApiError(KubeError):
    """The API server refused a request.

    `reason` is Kubernetes' own (NotFound, Conflict, ...); `retry_after` is in seconds, 0 if absent.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later: timeouts, conflicts, throttling, and errors
        of the API server or of a webhook that did not respond."""
        return self.status in (408, 409, 429) or self.status >= 500

    @property
    def may_pass(self) -> bool:
        """Whether a later request may succeed: after what is transient, or with a renewed token."""
        return self.is_transient or self.status == UNAUTHORIZED

    @property
    def is_shed(self) -> bool:
        """Whether the API server refused the request unprocessed because it has too many."""
        return self.status == 429 or (self.status == 503 and self.retry_after > 0)

    @property
    def is_unreadable(self) -> bool:
        """Of a list or watch: whether its namespace was deleted or must not be read. With rights in
        single namespaces a deleted one is a 403, since its Role is gone too."""
        return self.status in (403, 404)
