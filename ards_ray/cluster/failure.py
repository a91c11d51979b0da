"""Errors that come back from Ray's workers, told as what they are."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ards_ray.errors import ArdsError


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
