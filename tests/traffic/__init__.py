"""A load generator for an OpenAI-compatible address that checks every response.

Tests run `Driver` while they change a fleet; `python -m traffic` is the command, for network
namespaces and pods. It imports nothing of the project and needs only httpx.
"""

from traffic.chat import ChatStream, WholeChat
from traffic.driver import Driver
from traffic.embeddings import Embeddings
from traffic.kind import BadResponse, Kind
from traffic.plan import Plan
from traffic.report import Report
from traffic.speech import Transcription

__all__ = [
    "BadResponse",
    "ChatStream",
    "Driver",
    "Embeddings",
    "Kind",
    "Plan",
    "Report",
    "Transcription",
    "WholeChat",
]  # fmt: skip
