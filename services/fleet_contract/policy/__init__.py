"""What the platform permits to authors of InferenceModels: pod templates and keys."""
