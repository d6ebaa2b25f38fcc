"""The router's own GET routes: models, health, metrics, OpenAPI."""
