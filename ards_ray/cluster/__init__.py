"""Ray: the pipelines that run the stages on a cluster. The only place that imports it."""

import os

# Before Ray is imported, which reads it then. A task that is killed because the node's memory runs out is otherwise
# started again for ever.
os.environ.setdefault("RAY_task_oom_retries", "2")
