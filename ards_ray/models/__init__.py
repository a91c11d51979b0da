"""The proxy model: loading, prompt and labels for each model family, vectors and losses."""
