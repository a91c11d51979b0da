"""Robust training mixtures for multimodal models: ARDS as a distributed Ray Data job."""

__version__ = "0.1.0"
