"""The fields of llama.cpp's /completion that bound the reasoning of a text.

Source: tools/server/server-schema.cpp, common/reasoning-budget.cpp and common/sampling.cpp in
github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

from typing import Any

from fleet_server.protocols import ReasoningBudget

BEGUN = "\n<reasoning budget>\n"
"""The generation prompt of all requests. llama.cpp looks for the opening mark in the generation
prompt and the generated text only, and requests to /completion cannot set the former: this text is
the opening mark of those whose prompt has opened the reasoning. White space at its beginning, since
some tokenizers add some to a text without."""
LINE_ENDS = ("", "\n", "\n\n")
"""What a token may hold besides the end of a closing mark, which llama.cpp finds by its tokens."""


def fields(budget: ReasoningBudget, max_tokens: int) -> dict[str, Any]:
    """The fields for a text of at most `max_tokens` tokens."""
    return {
        "reasoning_budget_tokens": min(budget.tokens, max_tokens),
        "reasoning_budget_start_tag": BEGUN if budget.is_open else budget.open.rstrip(),
        "reasoning_budget_end_tags": [budget.close + end for end in LINE_ENDS],
        # Without a message, even an empty one, nothing is forced.
        "reasoning_budget_message": "",
    }
