"""Summaries of a finished run, from its tables."""
