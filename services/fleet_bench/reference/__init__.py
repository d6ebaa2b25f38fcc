"""A reference to compare engines with: transformers or faster-whisper, used as their pages show.

`python -m fleet_bench.reference` serves one model over the OpenAI routes `modelfleet bench` needs,
one request at a time, without batching between requests, caching or warm-up. It runs in an
interpreter that may lack everything but its own libraries, so it imports nothing of Modelfleet.
"""
