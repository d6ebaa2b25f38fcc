"""`python -m fleet_bench.reference`: load one model, then serve it on a port of the loopback."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fleet_bench.reference.protocols import Unusable
from fleet_bench.reference.server import serve


def main() -> None:
    """Ends with status 2 and a line where the reference does not serve the model."""
    parse = argparse.ArgumentParser(prog="fleet_bench.reference", description=__doc__)
    parse.add_argument("--library", choices=("transformers", "faster-whisper"), required=True)
    parse.add_argument("--task", choices=("chat", "embedding", "speech"), required=True)
    parse.add_argument("--path", type=Path, required=True, help="folder or file of the weights")
    parse.add_argument("--model", required=True, help="id in /v1/models")
    parse.add_argument("--port", type=int, required=True)
    parse.add_argument("--device", default="auto")
    parse.add_argument("--dtype", default="auto")
    parse.add_argument("--pooling", default="auto")
    parse.add_argument("--max-tokens", type=int, help="tokens read of a text to embed")
    asked = parse.parse_args()
    try:
        model = load(asked)
    except Unusable as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    serve(model, asked.model, asked.port).serve_forever()


def load(asked: argparse.Namespace) -> Any:
    """The model of the task. Raises Unusable, or what its library raises."""
    from fleet_bench.reference import chat, embedding, speech

    place = (asked.path, asked.device, asked.dtype)
    if asked.library == "faster-whisper":
        return speech.FasterWhisperSpeech(*place)
    if asked.task == "chat":
        return chat.TransformersChat(*place)
    if asked.task == "embedding":
        return embedding.TransformersEmbedding(*place, asked.pooling, asked.max_tokens)
    return speech.TransformersSpeech(*place)


if __name__ == "__main__":
    main()
