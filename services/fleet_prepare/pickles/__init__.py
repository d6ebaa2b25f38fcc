"""Pickled PyTorch checkpoints to safetensors, in a sandboxed process and only on request."""
