"""The options that replace kernels which are compiled later exist in this version of vLLM."""

from __future__ import annotations

import dataclasses

from vllm import AsyncEngineArgs, envs

from fleet_server.engines.vllm import toolkit


def test_vllm_has_the_options() -> None:
    assert set(toolkit.VARIABLES) <= envs.environment_variables.keys()
    fields = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    assert toolkit.ARGUMENTS.keys() <= fields
    AsyncEngineArgs(**toolkit.ARGUMENTS)
