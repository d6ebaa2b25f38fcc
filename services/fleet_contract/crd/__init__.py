"""The custom resource definition of InferenceModel, with its schema and validation rules."""
