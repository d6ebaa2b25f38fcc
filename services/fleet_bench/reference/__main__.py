"""`python -m fleet_bench.reference`: load one model and serve it on a loopback port."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fleet_bench.reference.protocols import Unusable
from fleet_bench.reference.server import serve


def main() -> None:
    """Run the server; exit status 2 where the reference cannot serve the model."""
    parse = argparse.ArgumentParser(prog="fleet_bench.reference", description=__doc__)
    parse.add_argument("--library", choices=("transformers", "faster-whisper"), required=True)
    parse.add_argument("--task", choices=("chat", "embedding", "speech"), required=True)
    parse.add_argument("--path", type=Path, required=True, help="folder or file of the weights")
    parse.add_argument("--model", required=True, help="id in /v1/models")
    parse.add_argument("--port", type=int, required=True)
    parse.add_argument("--device", default="auto")
    parse.add_argument("--dtype", default="auto")
    parse.add_argument("--pooling", default="auto")
    parse.add_argument("--max-tokens", type=int, help="tokens of a text to embed")
    options = parse.parse_args()
    try:
        model = load(options)
    except Unusable as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    serve(model, options.model, options.port).serve_forever()


def load(options: argparse.Namespace) -> Any:
    """Load the model of the task. Raises Unusable, or an error of its library."""
    from fleet_bench.reference import chat, embedding, speech

    place = (options.path, options.device, options.dtype)
    if options.library == "faster-whisper":
        return speech.FasterWhisperSpeech(*place)
    if options.task == "chat":
        return chat.TransformersChat(*place)
    if options.task == "embedding":
        return embedding.TransformersEmbedding(*place, options.pooling, options.max_tokens)
    return speech.TransformersSpeech(*place)


if __name__ == "__main__":
    main()
