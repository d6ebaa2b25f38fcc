"""Reference servers: transformers or faster-whisper, used as in their documentation.

`python -m fleet_bench.reference` serves one model over the OpenAI routes `modelfleet bench` needs,
one request at a time, without batching, caching or warm-up. It imports nothing else of Modelfleet,
because it may run in an environment that has only the libraries of the reference.
"""
