"""Continuous traffic against one OpenAI address, every answer checked.

Tests run `Driver` beside what they do to a fleet; `python -m traffic` is the same as a command, for
network namespaces and pods. It imports nothing of the project and needs only httpx.
"""

from traffic.chat import ChatStream, WholeChat
from traffic.driver import Driver
from traffic.embeddings import Embeddings
from traffic.kind import Kind, Wrong
from traffic.plan import Plan
from traffic.report import Report
from traffic.speech import Transcription

__all__ = [
    "ChatStream", "Driver", "Embeddings", "Kind", "Plan", "Report", "Transcription", "WholeChat",
    "Wrong",
]  # fmt: skip
