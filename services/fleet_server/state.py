"""The state shared by the routes of a server: spec, phase, model, admission, metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fleet_contract.api.models import ServerHealth
from fleet_contract.errors import AdapterNotFound, ModelNotFound, NotReady
from fleet_contract.names import HEADER_COLD, HEADER_MODEL, HEADER_QUEUE_MS
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import ModelSpec
from fleet_prepare.choose import EngineChoice
from fleet_server.admission import Admission, Slot, places
from fleet_server.budgets.image_memory import ImageMemory
from fleet_server.budgets.score_budget import ScoreBudget
from fleet_server.metrics import Metrics
from fleet_server.stages import Stages, Transfer
from fleet_server.worker_pool import WorkerPool

T = TypeVar("T")

LOADING_RETRY_SECONDS = 2.0


class ServerState:
    """Created once per process; `set_ready` follows when the model is loaded and warm."""

    def __init__(self, spec: ModelSpec, workers: int, heartbeat: float = 15.0) -> None:
        """`heartbeat` is in seconds: when a silent event stream is opened, and between comments."""
        self.spec = spec
        self.heartbeat = heartbeat
        self.metrics = Metrics(spec.model)
        self.created = int(time.time())
        self.phase = ServerPhase.STARTING
        self.choice: EngineChoice | None = None
        self.stages = Stages()
        self.scores = ScoreBudget()
        self.image_memory = ImageMemory(spec.images.memory_bytes, spec.limits.request_timeout)
        self.transfer: Transfer | None = None
        self._model: Any = None
        self._admission: Admission | None = None
        # Calls are those of admitted requests, which bounds their number. One thread is kept for
        # other callers.
        self._pool = WorkerPool(
            Admission(workers + 1, sys.maxsize, spec.limits.request_timeout, caller_slots=workers)
        )
        self.metrics.gauge(
            "modelfleet_in_flight", "Requests running", lambda: self._running
        )  # fmt: skip
        self.metrics.gauge(
            "modelfleet_queue_depth", "Requests waiting", lambda: self._waiting
        )  # fmt: skip

        self.metrics.gauge(
            "modelfleet_kv_cache_usage_ratio", "Share of the key/value cache in use, 0 without one",
            lambda: float(getattr(self._model, "cache_usage", 0.0)),
        )  # fmt: skip

    def set_ready(self, model: Any) -> None:
        """Accept requests for `model`; on the event loop."""
        limits = self.spec.limits
        self._model = model
        self._admission = Admission(
            places(self.spec, model),
            limits.max_queue_size,
            limits.request_timeout,
            limits.queue_share,
        )
        self.phase = ServerPhase.READY

    def drain(self) -> None:
        """Refuse new requests with 503 while the running ones finish."""
        self.phase = ServerPhase.DRAINING

    def fail(self) -> None:
        """Record that the model could not be brought up; the process is about to end."""
        self.stages.end()
        self.phase = ServerPhase.FAILED

    @property
    def loaded(self) -> Any:
        """The model once it is loaded, also while draining, else None."""
        return self._model

    @property
    def is_healthy(self) -> bool:
        """False when only a restart of the process helps."""
        return self._model is None or bool(getattr(self._model, "healthy", True))

    @property
    def _running(self) -> int:
        return self._admission.running if self._admission is not None else 0

    @property
    def _waiting(self) -> int:
        return self._admission.waiting if self._admission is not None else 0

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request, or since the model is ready; 0 before that."""
        return self._admission.idle_seconds if self._admission is not None else 0.0

    def ready_model(self) -> Any:
        """The model. Raises NotReady while it loads and while the server drains."""
        if self.phase is not ServerPhase.READY:
            raise NotReady(
                f"Model {self.spec.model!r} is {self.phase.value}; please try again.",
                retry_after=LOADING_RETRY_SECONDS,
            )
        if not self.is_healthy:
            raise NotReady(
                f"Model {self.spec.model!r} failed and is being restarted; please try again.",
                retry_after=LOADING_RETRY_SECONDS,
            )
        return self._model

    @property
    def admission(self) -> Admission:
        """The admission of requests. Raises NotReady as `ready_model` does."""
        self.ready_model()
        assert self._admission is not None  # noqa: S101  (set together with the model)
        return self._admission

    def check_model(self, name: object) -> None:
        """Raises ModelNotFound unless `name` is an id of the model served here or of an adapter."""
        text = str(name)
        if text not in self.spec.ids and self.spec.adapter_named(text) is None:
            shown = text[:200]
            is_adapter = text.rpartition(":")[0] in self.spec.ids
            raise (AdapterNotFound if is_adapter else ModelNotFound)(
                f"The model {shown!r} is not served here; this server serves "
                f"{', '.join((*self.spec.ids, *self.spec.adapter_ids))}.",
                param="model",
            )

    def check_model_of(self, body: Mapping[str, Any]) -> None:
        """`check_model` of `model` in a JSON body, if it is a string: other types are refused when
        the body is validated. Raises ModelNotFound."""
        if isinstance(body.get("model"), str):
            self.check_model(body["model"])

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run blocking work in the worker pool. Raises Timeout."""
        return await self._pool.run(function, *args)

    def health(self) -> ServerHealth:
        """The body of the readiness probe: phase, engine and progress."""
        phase = self.phase if self.is_healthy else ServerPhase.FAILED
        transfer = (
            self.transfer if phase in (ServerPhase.FETCHING, ServerPhase.CONVERTING) else None
        )
        return {
            "status": phase.value,
            "model": self.spec.model,
            "engine": self.choice.engine.value if self.choice else None,
            "device": self.choice.device if self.choice else None,
            "progress": transfer.body() if transfer is not None else None,
            "stages": {name: round(spent, 3) for name, spent in self.stages.seconds().items()},
            "in_flight": self._running,
            "queue_depth": self._waiting,
        }

    def headers(self, slot: Slot) -> dict[str, str]:
        """Headers of every inference response."""
        return {
            HEADER_MODEL: self.spec.model,
            HEADER_QUEUE_MS: f"{slot.queue_ms:.1f}",
            HEADER_COLD: "false",
        }

    def early_headers(self) -> dict[str, str]:
        """Headers of a stream that is opened before its request runs; `x-accel-buffering` keeps
        nginx from holding its comments back."""
        return {
            HEADER_MODEL: self.spec.model, HEADER_COLD: "false",
            "cache-control": "no-cache", "x-accel-buffering": "no",
        }  # fmt: skip

    def close(self) -> None:
        """Free the model and the worker threads."""
        if self._model is not None:
            self._model.close()
        self._pool.close()
