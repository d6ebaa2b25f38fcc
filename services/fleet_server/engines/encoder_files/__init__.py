"""Reads the files of an encoder other than its weights, independent of the engine."""
