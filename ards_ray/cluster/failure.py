"""Errors that come back from Ray's workers, told as what they are."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray import cloudpickle

from ards_ray.errors import ArdsError

# What Ray says of a call whose process died, by itself, with its node, or because the node's memory ran out.
DEATHS = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)


def is_alive(node: str) -> bool:
    """Whether a node is there, given by its id."""
    return any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes())


def packed(error: Exception) -> bytes:
    """An error as bytes, for a row of Ray Data; the trace of one that is not ours goes along as a note."""
    if not isinstance(error, ArdsError | OSError):
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
    try:
        content = cloudpickle.dumps(error)
        cloudpickle.loads(content)
        return content
    except Exception:
        return cloudpickle.dumps(ArdsError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def unpacked(content: bytes) -> Exception:
    """The error that a worker told."""
    return cloudpickle.loads(content)


@contextmanager
def known_cause() -> Iterator[None]:
    """Raise our own error where one of ours, or the storage's, stands behind an error of Ray.

    Raises:
        ArdsError: the cause.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            inner = getattr(cause, "cause", None) or cause.__cause__
            if isinstance(inner, ArdsError):
                raise inner from error
            if isinstance(inner, OSError):
                raise ArdsError(f"a worker could not read or write: {inner}") from error
            cause = inner
        raise
    except OSError as error:
        raise ArdsError(f"could not read or write: {error}") from error
