"""Parts of a ModelSpec in the terms of a PodSpec."""
