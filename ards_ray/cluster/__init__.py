"""Ray: the pipelines that run the stages on a cluster. The only place that imports it."""
