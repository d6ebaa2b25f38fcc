"""llama.cpp in this process, through xllamacpp: every GGUF architecture it knows, on the CPU."""
