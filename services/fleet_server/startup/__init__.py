"""From process start to a ready model: weights, engine, warm-up, golden checks."""
