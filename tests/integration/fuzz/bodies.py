"""Strategies that derive invalid requests from valid ones."""

from __future__ import annotations

import copy
import io
import json
import wave
from typing import Any

from hypothesis import strategies as st

HUGE = (2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40, -1, 0, 1e308, 5e-324)
ODD = (
    "", "\x00", " ", "\ud800", "\udfff\ud800", "\ufeff", "\u202e", "e\u0301", "\U0001f468\u200d",
    "a" * 5000, "w1 " * 3000, "nul\x00l", "../../etc/passwd", "{{ 7 * 7 }}",
    "data:image/png;base64,",
)  # fmt: skip
texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=30),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(HUGE), st.floats(), texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

CHAT: dict[str, Any] = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "me"},
        {"role": "assistant", "content": "Hi.", "tool_calls": []},
        {"role": "user", "content": "And?"},
    ],
    "max_tokens": 8, "max_completion_tokens": 8, "temperature": 0.5, "top_p": 0.9, "stop": ["x"],
    "stream": True, "stream_options": {"include_usage": True}, "n": 1, "user": "me", "seed": 1,
    "presence_penalty": 0.5, "frequency_penalty": -0.5, "response_format": {"type": "text"},
    "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "tools": [], "tool_choice": "none",
    "metadata": {"a": "b"}, "modalities": ["text"], "reasoning_effort": "none", "top_k": None,
    "add_generation_prompt": True, "continue_final_message": False,
}  # fmt: skip
TOOLS: dict[str, Any] = {
    "model": "chat",
    "messages": [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}]},
    ],
    "tools": [{"type": "function", "function": {
        "name": "f", "description": "F.", "strict": True, "parameters": {"type": "object"}}}],
    "tool_choice": "auto", "parallel_tool_calls": False, "reasoning_effort": "low",
    "chat_template_kwargs": {"enable_thinking": True},
}  # fmt: skip
COMPLETION: dict[str, Any] = {
    "model": "chat", "prompt": ["Once", "a"], "max_tokens": 8, "temperature": 0.5, "top_p": 0.9,
    "stop": ["x"], "stream": True, "stream_options": {"include_usage": True}, "n": 1, "best_of": 1,
    "echo": True, "user": "me", "seed": 1, "presence_penalty": 0.5, "frequency_penalty": -0.5,
    "suffix": None, "logprobs": None, "logit_bias": {}, "top_k": None,
}  # fmt: skip
RESPONSE: dict[str, Any] = {
    "model": "chat",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "message", "role": "assistant", "content": "Hi."},
        {"role": "user", "content": "And?"},
    ],
    "instructions": "Be brief.", "max_output_tokens": 8, "temperature": 0.5, "top_p": 0.9,
    "stream": True, "store": True, "metadata": {"a": "b"}, "user": "me", "tools": [],
    "tool_choice": "none", "background": False, "previous_response_id": None, "include": [],
    "text": {"format": {"type": "text"}}, "truncation": "disabled", "top_k": None,
}  # fmt: skip
FUNCTIONS: dict[str, Any] = {
    "model": "chat",
    "input": [
        {"role": "user", "content": "Hello"},
        {"type": "reasoning", "summary": [],
         "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1",
         "output": [{"type": "input_text", "text": "x"}]},
    ],
    "tools": [{"type": "function", "name": "f", "description": "F.", "strict": True,
               "parameters": {"type": "object"}}],
    "tool_choice": "auto", "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "model": "chat",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": None}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "text", "text": "Hi."},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "is_error": False,
             "content": [{"type": "text", "text": "x"}]},
            {"type": "document", "title": "T", "context": None,
             "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]},
    ],
    "system": [{"type": "text", "text": "Be brief."}], "max_tokens": 8, "temperature": 0.5,
    "top_p": 0.9, "top_k": None, "stop_sequences": ["x"], "stream": True,
    "tools": [{"type": "custom", "name": "f", "description": "F.", "strict": True,
               "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"},
    "metadata": {"user_id": "me"}, "service_tier": "auto", "mcp_servers": [], "container": None,
}  # fmt: skip
EMBED: dict[str, Any] = {
    "model": "embedding", "input": ["w1 w2", "w3"], "encoding_format": "base64", "dimensions": 16,
    "user": "me", "truncate": True,
}  # fmt: skip
NATIVE: dict[str, Any] = {
    "model": "embedding", "content": ["w1", "w2 w3"], "encoding_format": "float",
    "embd_normalize": 2, "truncate": True,
}  # fmt: skip
IDS: dict[str, Any] = {"model": "embedding", "input": [[2, 5, 3], [2, 6, 7, 3]]}
RERANK: dict[str, Any] = {
    "model": "rerank", "query": "w1", "documents": ["w2", {"text": "w3"}], "top_n": 1,
    "return_documents": True, "truncate": True,
}  # fmt: skip
TEXTS: dict[str, Any] = {
    "model": "rerank", "query": "w1", "texts": ["w2", "w3"], "raw_scores": True,
    "return_text": True,
}  # fmt: skip
TOKENIZE: dict[str, Any] = {
    "model": "embedding", "content": "w1 w2", "add_special": True, "parse_special": True,
    "with_pieces": True,
}  # fmt: skip
PROMPT: dict[str, Any] = {
    "model": "chat", "messages": CHAT["messages"], "tools": TOOLS["tools"], "tool_choice": "auto",
    "chat_template_kwargs": {"enable_thinking": True}, "add_generation_prompt": False,
    "continue_final_message": False, "reasoning_effort": "none",
}  # fmt: skip
DETOKENIZE: dict[str, Any] = {"model": "embedding", "tokens": [2, 5, 6, 3]}

VALID: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": False, "stream_options": None}),
    ("/v1/chat/completions", TOOLS),
    ("/v1/completions", COMPLETION),
    (
        "/v1/completions",
        COMPLETION
        | {"prompt": [[79, 110], [256]], "n": 2, "best_of": 2, "stream": False}
        | {"stream_options": None},
    ),
    ("/v1/responses", RESPONSE),
    ("/v1/responses", RESPONSE | {"input": "Hello", "stream": False}),
    ("/v1/responses", FUNCTIONS),
    ("/v1/messages", MESSAGES),
    ("/v1/messages", MESSAGES | {"system": "Be brief.", "stream": False}),
    ("/v1/messages/count_tokens", MESSAGES),
    ("/v1/embeddings", EMBED),
    ("/v1/embeddings", IDS),
    ("/embedding", NATIVE),
    ("/v1/rerank", RERANK),
    ("/rerank", TEXTS),
    ("/v2/rerank", RERANK),
    ("/tokenize", TOKENIZE),
    ("/tokenize", PROMPT | {"return_token_strs": True}),
    ("/apply-template", PROMPT),
    ("/v1/chat/completions/render", TOOLS),
    ("/detokenize", DETOKENIZE),
]
"""Paths with a complete valid body to be changed."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all parts of a JSON value, including the value itself."""
    found = [path]
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for key, part in items:
        found += places(part, (*path, key))
    return found


@st.composite
def broken_json(draw: st.DrawFn, valid: dict[str, Any]) -> Any:
    """The valid body with one to three of its parts, at any depth, replaced or removed."""
    body: Any = copy.deepcopy(valid)
    for number in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(body)))
        change = draw(st.sampled_from(("other", "gone", "wrapped", "many", "named")))
        if not path:
            if change == "other":
                return draw(values)
            continue
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        if change == "other":
            parent[key] = draw(values)
        elif change == "gone":
            del parent[key]
        elif change == "wrapped":
            parent[key] = [parent[key]] if draw(st.booleans()) else {"text": parent[key]}
        elif change == "many":
            most = draw(st.sampled_from((2, 40, 3000))) if number == 0 else 2
            parent[key] = [copy.deepcopy(parent[key]) for _ in range(most)]
        elif isinstance(parent, dict):
            parent[draw(texts)] = parent.pop(key)
    return body


def encoded(body: Any, ascii_only: bool) -> bytes:
    """Encoded as a careless client would: with NaN and unpaired surrogates."""
    return json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@st.composite
def broken_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """The valid bytes, cut, extended or overwritten; or unrelated bytes."""
    at = draw(st.integers(0, len(valid)))
    junk = draw(st.binary(max_size=20))
    deep = draw(st.sampled_from((100, 100_000)))
    return draw(
        st.sampled_from(
            (
                valid[:at],
                valid[:at] + junk + valid[at:],
                valid[:at] + junk + valid[at + len(junk) :],
                b"\xef\xbb\xbf" + valid,
                valid + valid,
                valid.decode("utf-8").encode("utf-16"),
                b"[" * deep,
                b'{"model":' * deep,
                b"[" * deep + b"]" * deep,
                valid[:-1] + b',"x":' + b"[" * deep + b"]" * deep + b"}",
                valid[:-1] + b',"seed":' + b"9" * deep + b"}",
                valid[:-1] + b',"temperature":1e999999}',
                valid[:-1] + b',"model":"a","model":null}',
                junk,
            )
        )
    )


def recording(seconds: float = 0.2) -> bytes:
    """A silent WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\x00\x00" * round(seconds * 8000))
    return file.getvalue()


FIELDS: list[tuple[str, bytes]] = [
    ("model", b"speech"), ("language", b"en"), ("prompt", b"Hi"),
    ("response_format", b"verbose_json"), ("temperature", b"0.5"),
    ("timestamp_granularities[]", b"word"), ("stream", b"false"),
    ("file", recording()),
]  # fmt: skip
BOUNDARY = b"fuzz0123456789"

field_names = st.sampled_from([*(name for name, _ in FIELDS), "", "x", "file[]", "model\r\nx: y"])
raw_values = st.one_of(
    st.binary(max_size=40),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        (b"NaN", b"1e999", b"-1", b"json", b"srt", b"vtt", b"text", b"true", b"x" * 70_000)
    ),
)
dispositions = st.sampled_from(
    (
        b'form-data; name="%b"', b'form-data; name=%b', b'form-data; filename="a.wav"; name="%b"',
        b"form-data; name*=utf-8''%b", b'attachment; name="%b"', b'form-data; name="%b',
        b'form-data; name="\xff"; x="%b"', b"%b",
    )
)  # fmt: skip


@st.composite
def broken_form(draw: st.DrawFn) -> tuple[bytes, str]:
    """A form with fields replaced, repeated or removed, and its content type."""
    fields = list(FIELDS)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(fields) - 1)))
        change = draw(st.sampled_from(("value", "name", "gone", "twice", "many", "file")))
        if not fields:
            break
        name, value = fields[at]
        if change == "value":
            fields[at] = (name, draw(raw_values))
        elif change == "name":
            fields[at] = (draw(field_names), value)
        elif change == "gone":
            del fields[at]
        elif change in ("twice", "many"):
            fields += [fields[at]] * (1 if change == "twice" else 80)
        else:
            fields = [(n, draw(broken_bytes_of(v)) if n == "file" else v) for n, v in fields]
    how = draw(dispositions) if draw(st.integers(0, 3)) == 0 else b'form-data; name="%b"'
    parts = [
        b"--%b\r\ncontent-disposition: %b\r\n\r\n%b\r\n"
        % (BOUNDARY, how.replace(b"%b", name.encode()), value)
        for name, value in fields
    ]
    body = b"".join(parts) + b"--%b--\r\n" % BOUNDARY
    if draw(st.integers(0, 2)) == 0:
        body = draw(broken_bytes_of(body))
    kind = draw(
        st.sampled_from(
            (
                f"multipart/form-data; boundary={BOUNDARY.decode()}",
                f"multipart/form-data; boundary={BOUNDARY.decode()}",
                f"multipart/form-data; boundary={BOUNDARY.decode()}",
                f'multipart/form-data; boundary="{BOUNDARY.decode()}"',
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=" + "b" * 300,
                "application/x-www-form-urlencoded",
                "application/json",
            )
        )
    )
    return body, kind


@st.composite
def broken_bytes_of(draw: st.DrawFn, valid: bytes) -> bytes:
    """Binary data, cut, extended or overwritten in one to four places."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        junk = draw(st.binary(min_size=1, max_size=8))
        change = draw(st.sampled_from(("cut", "insert", "overwrite", "drop")))
        if change == "cut":
            del data[at:]
        elif change == "insert":
            data[at:at] = junk
        elif change == "overwrite":
            data[at : at + len(junk)] = junk
        else:
            del data[at : at + len(junk)]
    return bytes(data)
