"""Replicas of a model on a Ray cluster, which answer the questions of an evaluation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ards_ray.cluster.failure import known_cause
from ards_ray.cluster.isolate import Holder, work_through
from ards_ray.cluster.preflight import check_nodes
from ards_ray.cluster.replica import LANES, Replica
from ards_ray.cluster.resources import Pool, plan_replicas, resolve_device
from ards_ray.cluster.session import ray_session
from ards_ray.config import CorpusSettings, RuntimeSettings, Settings
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.queue import QuestionQueue, Queued
from ards_ray.evaluation.settings import EvaluationSettings
from ards_ray.evaluation.workers import Say, Workers
from ards_ray.run.directory import RunDirectory


class RayReplicas:
    """See `Workers`. A question that kills the process which answers it, or makes it useless, is given up alone.

    Args:
        stated: The settings as the user states them.
    """

    def __init__(self, stated: EvaluationSettings):
        self._stated = stated

    def device(self) -> tuple[str, str]:
        """See `Workers.device`."""
        return resolve_device(self._stated.proxy)

    def check(self, run: RunDirectory, settings: EvaluationSettings, model: str) -> None:
        """See `Workers.check`."""
        folders: list[str | None] = [*dict.fromkeys(settings.images.values())]
        for folder in folders or [None]:
            corpus = CorpusSettings(files=tuple(settings.benchmarks.values()), images=folder)
            check_nodes(run, Settings(corpus=corpus, proxy=settings.proxy), model)
        self._plan(settings)

    def ask(self, queue: QuestionQueue, settings: EvaluationSettings, model: str) -> Iterator[int]:
        """See `Workers.ask`."""
        return ask(queue, self._plan(settings), settings.engine_settings, model)

    def _plan(self, settings: EvaluationSettings) -> Pool:
        runtime = RuntimeSettings(workers=settings.workers, threads=settings.threads)
        return plan_replicas(runtime, self._stated.device, settings.device, settings.tensor_parallel)


@contextmanager
def ray_replicas(stated: EvaluationSettings, say: Say) -> Iterator[Workers]:
    """The cluster for the time of an evaluation.

    Raises:
        ArdsError: our own error, where one of ours stands behind an error of Ray.
    """
    with ray_session(), known_cause():
        yield RayReplicas(stated)


def ask(queue: QuestionQueue, pool: Pool, settings: EngineSettings, model: str) -> Iterator[int]:
    """Ask all questions, yielding the number of answers whenever some came.

    Args:
        queue: The questions.
        pool: The replicas.
        settings: The model and how it answers.
        model: Digest of the checkpoint.

    Raises:
        ArdsError: a process dies while it loads the model, or whatever it is asked.
        Exception: a replica cannot answer for another reason, such as images that cannot be read.
    """
    lanes = queue.lanes(LANES * min(pool.count, max(len(queue), 1)))
    holders = [
        Holder(Replica, (settings, model), pool, _call, lanes[first : first + LANES])
        for first in range(0, len(lanes), LANES)
    ]
    return work_through(holders, "killed the process that answered it")


def _call(replica: Any, some: Sequence[Queued]) -> Any:
    return replica.reply.remote([one.inquiry for one in some])
