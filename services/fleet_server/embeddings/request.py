"""Parses and validates the bodies of the embedding routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.embeddings import (
    NO_OP_VALUES,
    PROMPT_FIELDS,
    EmbeddingBody,
    Encoding,
    NativeBody,
)
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import Limits
from fleet_server.batching.totals import check_total
from fleet_server.embeddings.prompts import SHOWN, apply_prompt
from fleet_server.no_ops import refuse_unsupported
from fleet_server.protocols import EmbeddingModel
from fleet_web.errors import from_validation

Inputs = Sequence[str | list[int]]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A validated request. `param` is the field that holds the inputs; token ids are not yet
    checked against the vocabulary. `dimensions` None means all. `add_special_tokens` False accepts
    token ids without the tokenizer's special tokens."""

    inputs: Inputs
    param: str
    truncate: bool
    encoding: Encoding = "float"
    dimensions: int | None = None
    normalize: int = 2
    add_special_tokens: bool | None = None


def parse(body: Mapping[str, Any], spec: ModelSpec, model: EmbeddingModel) -> EmbeddingRequest:
    """The request in an OpenAI body. Raises BadRequest with `param`."""
    try:
        given = EmbeddingBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    refuse_unsupported(body, NO_OP_VALUES)
    inputs = read_inputs(given.input, "input", spec.limits)
    _check_special_tokens(given.add_special_tokens, inputs)
    _check_prompt_fields(given, model)
    return EmbeddingRequest(
        inputs=apply_prompt(inputs, given.prompt_name, model),
        param="input",
        truncate=_truncate(given.truncate, spec),
        encoding=given.encoding_format or "float",
        dimensions=_dimensions(given.dimensions, spec, model.dimensions),
        add_special_tokens=given.add_special_tokens,
    )


def parse_native(
    body: Mapping[str, Any], spec: ModelSpec, model: EmbeddingModel
) -> EmbeddingRequest:
    """The request in a llama.cpp body. Raises BadRequest with `param`."""
    try:
        given = NativeBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    if given.content is None and given.input is None:
        raise BadRequest("'content' or 'input' must be given.", param="content", code="missing")
    if given.content is not None and given.input is not None:
        raise BadRequest("Use either 'content' or 'input', not both.", param="input")
    param = "content" if given.input is None else "input"
    value = getattr(given, param)
    if given.embd_normalize == -1:
        raise BadRequest(
            "'embd_normalize' -1 (no normalisation) is not supported: this server's vectors are "
            "normalised. Use 0, 1, 2 or a higher p-norm.",
            param="embd_normalize",
        )
    refuse_unsupported(body, NO_OP_VALUES)
    inputs = read_inputs(value, param, spec.limits)
    _check_special_tokens(given.add_special_tokens, inputs)
    return EmbeddingRequest(
        inputs=apply_prompt(inputs, None, model),
        param=param,
        truncate=_truncate(given.truncate, spec),
        normalize=given.embd_normalize,
        add_special_tokens=given.add_special_tokens,
    )


def read_inputs(value: Any, param: str, limits: Limits) -> Inputs:
    """A text, token ids, or a list of either, as a list. Raises BadRequest with `param`."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise _not_inputs(param)
    if not value:
        raise BadRequest(f"{param!r} must not be empty.", param=param)
    if type(value[0]) is int:
        check_total(len(value), limits, param)
    elif len(value) > limits.max_items:
        raise BadRequest(
            f"{param!r} has {len(value)} items; at most {limits.max_items} are accepted.",
            param=param,
        )
    kinds = set(map(type, value))
    if kinds == {int}:
        return [value]
    if kinds == {str}:
        _check_texts(value, param, limits.max_text_chars)
    elif kinds == {list}:
        empty = next((n for n, ids in enumerate(value) if not ids), None)
        if empty is not None:
            raise BadRequest(f"'{param}[{empty}]' must not be empty.", param=param)
    else:
        raise _not_inputs(param)
    check_total(sum(map(len, value)), limits, param)
    return value


def _check_texts(texts: list[str], param: str, most: int) -> None:
    for number, text in enumerate(texts):
        if not text:
            raise BadRequest(f"'{param}[{number}]' must not be an empty string.", param=param)
        if len(text) > most:
            raise BadRequest(
                f"'{param}[{number}]' has {len(text)} characters; at most {most} are accepted.",
                param=param,
            )


def _check_special_tokens(add_special_tokens: bool | None, inputs: Inputs) -> None:
    if add_special_tokens is False and isinstance(inputs[0], str):
        raise UnsupportedParameter(
            "'add_special_tokens' false requires token ids; texts always get special tokens.",
            param="add_special_tokens",
        )


def _check_prompt_fields(given: EmbeddingBody, model: EmbeddingModel) -> None:
    """Other services' names of a prompt have no effect on a model without prompts only."""
    prompts: Mapping[str, str] = getattr(model, "prompts", {})
    for name in PROMPT_FIELDS if prompts else ():
        if getattr(given, name) is not None:
            raise UnsupportedParameter(
                f"{name!r} is not supported; use 'prompt_name' with one of "
                f"{', '.join(map(repr, list(prompts)[:SHOWN]))}.",
                param=name,
            )


def _not_inputs(param: str) -> BadRequest:
    return BadRequest(
        f"{param!r} must be a string, a list of strings, a list of token ids or a list of lists "
        f"of token ids, not a mixture.",
        param=param,
        code="invalid_value",
    )


def _truncate(requested: bool | None, spec: ModelSpec) -> bool:
    return spec.limits.truncate_inputs if requested is None else requested


def _dimensions(requested: int | None, spec: ModelSpec, native: int) -> int | None:
    if requested is None or requested == native:
        return None
    if requested in spec.matryoshka_dimensions:
        return requested
    known = sorted({native, *spec.matryoshka_dimensions})
    if len(known) > 1:
        raise BadRequest(
            f"'dimensions' is {requested}; {spec.model} supports {', '.join(map(str, known))}.",
            param="dimensions",
        )
    raise BadRequest(
        f"'dimensions' is {requested}; the vectors of {spec.model} have {native} and cannot be "
        f"shortened.",
        param="dimensions",
    )
