"""Tool calls in generated text, in the syntax of each model family."""
