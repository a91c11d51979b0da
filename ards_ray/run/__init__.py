"""The run directory: parts, manifest, fingerprints."""
