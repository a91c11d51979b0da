"""Ray: the pipelines that run the stages on a cluster. The only place that imports it."""

import os

# Before Ray is imported, which reads it then. A task that is killed because the node's memory runs out is otherwise
# started again for ever.
os.environ.setdefault("RAY_task_oom_retries", "2")

from ards_ray.cluster.working_folder import return_to_working_folder

# Before torch is imported, which a process that Ray started ahead may come to without its working folder.
return_to_working_folder()
