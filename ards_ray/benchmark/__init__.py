"""Measurements of the product on synthetic inputs."""
