"""OpenAI's responses over HTTP, stateless: nothing is stored."""
