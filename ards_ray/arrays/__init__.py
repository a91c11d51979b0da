"""What several methods compute with: k-means, unit vectors, seeded generators, the best of scores."""
