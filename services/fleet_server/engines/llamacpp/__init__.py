"""llama.cpp in this process, through xllamacpp: every GGUF architecture it knows, on the CPU."""

import os

# libgomp reads it when it is loaded. Threads that spin while they wait take the CPUs from other
# models: 64 tokens cost 14 s of CPU instead of 1.3 s on two cores with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
