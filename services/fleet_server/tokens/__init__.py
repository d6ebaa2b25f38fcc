"""llama.cpp's /tokenize and /detokenize, for models that read text."""
