"""Workers: who asks the model. A plain loop is in `loop.py`, replicas on a cluster are in `cluster/`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from ards_ray.evaluation.queue import QuestionQueue
from ards_ray.evaluation.settings import EvaluationSettings
from ards_ray.run.directory import RunDirectory

Say = Callable[[str], None]


class Workers(Protocol):
    """How the questions of an evaluation are spread."""

    def device(self) -> tuple[str, str]:
        """Device and dtype of the model; for `auto` those that the workers have.

        Raises:
            SettingsError: there are none.
        """

    def check(self, run: RunDirectory, settings: EvaluationSettings, model: str) -> None:
        """Check that all workers see output, benchmarks, images, model and adapter, and the same as here.

        Args:
            run: The run.
            settings: Its settings, nothing `auto` in them but the number of workers.
            model: Digest of the checkpoint here.

        Raises:
            SettingsError: names the workers and what they do not see; or there are not the workers that are asked for.
        """

    def ask(self, queue: QuestionQueue, settings: EvaluationSettings, model: str) -> Iterator[int]:
        """Ask all that waits in the queue, yielding now and then how many answers came.

        Raises:
            ArdsError: the model cannot be loaded, or does not answer.
        """


# Workers for the time of a job, given its settings as the user states them; they say what the user must know.
OpenWorkers = Callable[[EvaluationSettings, Say], AbstractContextManager[Workers]]
