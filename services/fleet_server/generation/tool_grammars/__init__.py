"""Grammars of tool calls in the syntaxes of model families whose arguments are not JSON."""
