"""OpenAI's responses over HTTP: a chat in another shape, of which nothing is kept."""
