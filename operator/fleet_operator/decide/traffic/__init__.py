"""The weights of models in traffic groups. Pure."""
