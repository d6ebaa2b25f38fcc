"""The engines, one package each; nothing here imports a web framework."""
