"""How the weights of models reach their nodes, and the secrets of their downloads."""
