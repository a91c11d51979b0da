"""The mixture: budget, records, composition, summary."""
