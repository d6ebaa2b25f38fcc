"""vLLM in the server's process: chat from safetensors on NVIDIA and AMD GPUs, and on CPUs.

Model and scheduler run in a child process that vLLM starts; token ids go in and come out.
"""

import os

# Read when vllm is imported. The child process must not inherit locks that threads of this one
# hold, so it is not forked.
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
