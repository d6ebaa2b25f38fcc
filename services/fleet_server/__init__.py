"""The model server: one model per process behind OpenAI's endpoints.

The HTTP layer (`app`) imports no engine; the engines import no web framework.
"""
