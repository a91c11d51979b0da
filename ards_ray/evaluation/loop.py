"""Workers that are a plain loop in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from ards_ray.config import ProxySettings
from ards_ray.evaluation.queue import QuestionQueue
from ards_ray.evaluation.respondent import load_respondent
from ards_ray.evaluation.settings import EvaluationSettings
from ards_ray.evaluation.workers import Say, Workers
from ards_ray.models.loading import device_here
from ards_ray.run.directory import RunDirectory


class Loop:
    """Workers that are this process: one model, nothing isolated.

    Args:
        model: The model as the user states it.
    """

    def __init__(self, model: ProxySettings):
        self._model = model

    def device(self) -> tuple[str, str]:
        """See `Workers.device`."""
        return device_here(self._model)

    def check(self, run: RunDirectory, settings: EvaluationSettings, model: str) -> None:
        """See `Workers.check`. This process sees what it sees."""

    def ask(self, queue: QuestionQueue, settings: EvaluationSettings, model: str) -> Iterator[int]:
        """See `Workers.ask`."""
        respondent = load_respondent(settings.engine_settings, model)
        (lane,) = queue.lanes(1)
        lane.widen(respondent.width)
        while some := lane.next():
            yield lane.record(some, respondent.reply([one.inquiry for one in some]))


@contextmanager
def loop_workers(settings: EvaluationSettings, say: Say) -> Iterator[Workers]:
    """Workers for tests and notebooks, which start no Ray."""
    yield Loop(settings.proxy)
