"""Chat over HTTP: validate, build the prompt, run the engine, write the answer."""
