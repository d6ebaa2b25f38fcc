"""Marks of tool calls that parsers and grammars share."""

from __future__ import annotations

DSML = "｜DSML｜"
"""Of DeepSeek V3.2."""

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, CALL, RETURN = "<|end|>", "<|call|>", "<|return|>"
"""Of gpt-oss."""
