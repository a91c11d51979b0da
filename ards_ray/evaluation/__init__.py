"""Robust accuracy: benchmarks, attacks on their questions, waves of requests, matching of answers, metrics."""
