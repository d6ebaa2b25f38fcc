"""The protocols that engines and custom handlers implement, one per task.

The HTTP layer uses nothing else of a model. Methods are called from worker threads unless stated
otherwise and must be thread-safe. Constructors take `(spec: ModelSpec, folder: Path, threads:
int)`, load everything and raise `LoadError` (fleet_server.load_error). Besides the members of its
protocol, a model may have `device: str`, the device it runs on, `healthy: bool`, which turns False
when only a restart helps, and `cache_usage: float`, the share of its key/value cache in use (0..1).
"""

from __future__ import annotations

from fleet_server.protocols.arrays import Float32
from fleet_server.protocols.chat import (
    ChatModel,
    CompiledFormat,
    GuidedModel,
    Message,
    TemplatedModel,
    TextModel,
    Vocabulary,
)
from fleet_server.protocols.encoder import EmbeddingModel, RerankModel
from fleet_server.protocols.formats import FormatKind, OutputFormat
from fleet_server.protocols.generation import (
    ENDING_CHARS,
    NO_ARGUMENTS,
    Delta,
    Finish,
    Generation,
    NoReasoning,
    Prompt,
    ReasoningBudget,
    Sampling,
    Step,
    TemplateArguments,
    TokenLogprobs,
)
from fleet_server.protocols.memory import ReleasesMemory
from fleet_server.protocols.speech import (
    Cancelled,
    Segment,
    SpeechModel,
    SpeechOptions,
    Transcript,
    WarmsUp,
    Word,
)

__all__ = [
    "ENDING_CHARS",
    "NO_ARGUMENTS",
    "Cancelled",
    "ChatModel",
    "CompiledFormat",
    "Delta",
    "EmbeddingModel",
    "Finish",
    "Float32",
    "FormatKind",
    "Generation",
    "GuidedModel",
    "Message",
    "NoReasoning",
    "OutputFormat",
    "Prompt",
    "ReasoningBudget",
    "ReleasesMemory",
    "RerankModel",
    "Sampling",
    "Segment",
    "SpeechModel",
    "SpeechOptions",
    "Step",
    "TemplateArguments",
    "TemplatedModel",
    "TextModel",
    "TokenLogprobs",
    "Transcript",
    "Vocabulary",
    "WarmsUp",
    "Word",
]
