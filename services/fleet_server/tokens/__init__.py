"""llama.cpp's /tokenize and /detokenize, for every model that reads text."""
