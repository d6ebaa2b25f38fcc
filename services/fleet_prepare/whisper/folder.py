"""Runs a conversion: reads and checks everything before the first byte of weights is written."""

from __future__ import annotations

from collections.abc import Callable

from fleet_prepare.conversion import Conversion
from fleet_prepare.json_file import read_object, write_json
from fleet_prepare.safetensors_file import Tensors, open_tensors
from fleet_prepare.whisper import QUANTIZATIONS
from fleet_prepare.whisper.features import features
from fleet_prepare.whisper.generation import generation
from fleet_prepare.whisper.shape import shape
from fleet_prepare.whisper.tokens import tokens
from fleet_prepare.whisper.weights import Checkpoint, specification
from fleet_weights.errors import WeightsError


def write(conversion: Conversion) -> None:
    """See `convert` of this package."""
    if conversion.quantization not in QUANTIZATIONS:
        raise WeightsError(
            f"Whisper is not converted to {conversion.quantization!r}.",
            f"Choose from: {', '.join(QUANTIZATIONS)}.",
        )
    source, target = conversion.source, conversion.target
    path = source / "config.json"
    config = read_object(path)
    if config is None:
        raise WeightsError(f"{path} is missing.")
    sizes = shape(config, path)
    known = tokens(source, sizes.vocab_size)
    settings = features(source, sizes)
    decoding = generation(
        read_object(source / "generation_config.json") or {}, config, known, sizes, source
    )
    with open_tensors(source) as tensors:
        checkpoint = Checkpoint(tensors, conversion.quantization, _meter(conversion, tensors))
        spec = specification(checkpoint, sizes)
        for name, value in decoding.items():
            setattr(spec.config, name, value)
        spec.register_vocabulary(known.vocabulary(sizes.vocab_size))
        spec.validate()
        spec.optimize()
        conversion.check()
        spec.save(str(target))
        (target / "tokenizer.json").write_text(known.text, encoding="utf-8")
        write_json(target / "preprocessor_config.json", settings)
        conversion.progress(tensors.total_bytes, tensors.total_bytes)


def _meter(conversion: Conversion, tensors: Tensors) -> Callable[[int], None]:
    """Counts the bytes read, and checks for cancellation after each tensor."""
    done, total = 0, tensors.total_bytes

    def read(count: int) -> None:
        nonlocal done
        done += count
        conversion.progress(min(done, total), total)
        conversion.check()

    return read
