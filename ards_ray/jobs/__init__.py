"""The jobs: each puts rooms together."""
