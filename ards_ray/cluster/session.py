"""The connection to Ray."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ards_ray.cluster.working_folder import wait_for_working_folders
from ards_ray.errors import ArdsError, SettingsError

NO_NODE = "0" * 56
OF_TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the token, RAY_AUTH_TOKEN_PATH to its file, or HOME to the folder "
    "with .ray/auth_token"
)


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the time of a job: the cluster that is there (`RAY_ADDRESS`, or one on this machine), or a local one."""
    mine = not ray.is_initialized()
    if not mine:
        # What a job that failed here left in reference cycles still holds actors, and those their CPUs.
        gc.collect()
    else:
        # It says that a local Ray asks for a token, which this process has.
        logging.getLogger("ray._private.authentication.authentication_token_setup").addFilter(_is_worth_saying)
        try:
            ray.init(logging_level=logging.WARNING, log_to_driver=True)
        except ConnectionError as error:
            raise ArdsError(f"no connection to Ray: {error}; if the cluster asks for a token, {OF_TOKEN}") from error
        except ray.exceptions.AuthenticationError as error:
            reason = str(error).partition(". ")[0]
            raise SettingsError(f"no connection to Ray: {reason}; {OF_TOKEN}") from error
        except OSError as error:
            file = os.path.join(os.path.expanduser("~"), ".ray", "auth_token")
            if not file.startswith(str(error.filename)):
                raise
            raise SettingsError(
                f"Ray cannot write its token file {file} ({error.strerror}): set HOME to a folder that can be written, "
                "RAY_AUTH_TOKEN_PATH to a file with a token, or RAY_AUTH_TOKEN to a token"
            ) from error
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


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Token authentication is enabled")


@cache
def forestall_restart_warning() -> None:
    """Have Ray's core say here, unheard, what it says once in a process.

    It warns where an actor that may restart has an argument in the object store. Ray Data creates the actors of every
    pool so, and keeps those arguments; a log level that silences the warning is announced in another line.
    """

    class Nothing:
        def __init__(self, argument: object):
            pass

    kind: Any = ray.remote(num_cpus=0, max_restarts=1)(Nothing)
    nowhere = kind.options(scheduling_strategy=NodeAffinitySchedulingStrategy(NO_NODE, soft=False))
    argument = ray.put(None)
    with _without_stderr():
        actor = nowhere.remote(argument)
    ray.kill(actor)


@contextmanager
def _without_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
