"""Errors a client may see; each class has its HTTP status and OpenAI `type`.

    FleetError
      BadRequest            400  invalid_request_error
        PromptTooLong       400  context_length_exceeded
        WrongTask           400  wrong_task
        UnsupportedParameter 400 unsupported_parameter
          ThreadsUnsupported 400 thread_unsupported_request
      Unauthorized          401  authentication_error
      Forbidden             403  permission_error
      ModelNotFound         404  model_not_found
        AdapterNotFound     404  model_not_found
      RouteNotFound         404  not_found
      MethodNotAllowed      405
      RequestTimeout        408  request_timeout
      TooLarge              413  request_too_large
      QueueFull             429  queue_full           (+ Retry-After)
      RateLimited           429  rate_limit_exceeded  (+ Retry-After)
      InternalError         500  api_error            (its text is not sent to clients)
      UpstreamFailed        502  upstream_failed
      NotReady              503  model_not_ready      (+ Retry-After)
      Timeout               504  timeout

fleet_web turns them into `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fleet_contract.api.base import ErrorBody


class FleetError(Exception):
    """Base of all errors that clients may see.

    `message` is for people, `param` names the field at fault, `retry_after` is in seconds.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code
        self.retry_after = retry_after

    def body(self) -> ErrorBody:
        """The error as OpenAI's JSON body."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(FleetError):
    status = 400
    type = "invalid_request_error"


class PromptTooLong(BadRequest):
    default_code = "context_length_exceeded"


class WrongTask(BadRequest):
    default_code = "wrong_task"


class UnsupportedParameter(BadRequest):
    default_code = "unsupported_parameter"


class ThreadsUnsupported(UnsupportedParameter):
    default_code: ClassVar[str] = "thread_unsupported_request"


class Unauthorized(FleetError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(FleetError):
    status = 403
    type = "permission_error"


class ModelNotFound(FleetError):
    status = 404
    type = "invalid_request_error"
    default_code = "model_not_found"


class AdapterNotFound(ModelNotFound):
    """An adapter of a known model, which another version of the model may have."""


class RouteNotFound(FleetError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class MethodNotAllowed(FleetError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class RequestTimeout(FleetError):
    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class TooLarge(FleetError):
    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"


class QueueFull(FleetError):
    status = 429
    type = "rate_limit_error"
    default_code = "queue_full"


class RateLimited(FleetError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class InternalError(FleetError):
    status = 500


class UpstreamFailed(FleetError):
    status = 502
    default_code = "upstream_failed"


class NotReady(FleetError):
    status = 503
    type = "service_unavailable"
    default_code = "model_not_ready"


class Timeout(FleetError):
    status = 504
    default_code = "timeout"
