"""Chat over HTTP: validate, build the prompt, run the engine, render the response."""
