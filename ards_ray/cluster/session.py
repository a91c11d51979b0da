"""The connection to Ray."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ards_ray.cluster.working_folder import wait_for_working_folders
from ards_ray.errors import ArdsError


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the time of a job: the cluster that is there (`RAY_ADDRESS`, or one on this machine), or a local one."""
    mine = not ray.is_initialized()
    if not mine:
        # What a job that failed here left in reference cycles still holds actors, and those their CPUs.
        gc.collect()
    else:
        try:
            ray.init(logging_level=logging.WARNING, log_to_driver=True)
        except ConnectionError as error:
            raise ArdsError(f"no connection to Ray: {error}") from error
        wait_for_working_folders()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Wrapped, an error comes back without its cause. Ray Data prints its trace as well, but it is raised all the same.
    context.raise_original_map_exception = True
    for name in ("ray.data.exceptions", "ray.data._internal.execution.streaming_executor_state"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # It warns that its own progress bars are off.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if mine:
            ray.shutdown()
