"""The id of a model, as clients send it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MODEL_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
MODEL_ID_LENGTH = 200
ModelId = Annotated[str, Field(min_length=1, max_length=MODEL_ID_LENGTH, pattern=MODEL_ID_PATTERN)]
