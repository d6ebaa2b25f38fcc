"""The model server: one model per process behind OpenAI's endpoints.

`app` speaks HTTP and imports no engine; the engines import no web framework.
"""
