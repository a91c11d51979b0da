"""The process that holds a replica of the evaluated model."""

from collections.abc import Sequence
from functools import cached_property

import ray

from ards_ray.errors import ArdsError, SettingsError
from ards_ray.evaluation.engine import EngineSettings, load_engine
from ards_ray.evaluation.respondent import Inquiry, Reply, Respondent
from ards_ray.models.checkpoint import checkpoint_digest, checkpoint_folder


class EngineFailed(Exception):
    """The model's libraries raised an error over some requests. In what state they and the device are nobody knows."""


class Replica:
    """Answers requests, a wave at a time."""

    def __init__(self, settings: EngineSettings, model: str):
        self._settings = settings
        self._model = model

    def load(self) -> tuple[str, int]:
        """Load the model. Gives the node that it lies on, and `Engine.width`.

        Raises:
            SettingsError: the model is not the one of the run, or cannot be loaded.
        """
        return ray.get_runtime_context().get_node_id(), self._respondent.width

    def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
        """See `Respondent.reply`.

        Raises:
            EngineFailed: of what is not ours, and so not told by whoever knows about it.
        """
        try:
            return self._respondent.reply(inquiries)
        except (ArdsError, OSError):
            raise
        except Exception as error:
            # As text: not every library's errors can travel.
            raise EngineFailed(f"{type(error).__name__}: {' '.join(str(error).split())}") from error

    @cached_property
    def _respondent(self) -> Respondent:
        # Not in the constructor: of an actor that dies there only a trace comes back.
        folder = checkpoint_folder(str(self._settings.proxy.model))
        if checkpoint_digest(folder) != self._model:
            raise SettingsError(f"{folder}: not the checkpoint that the job was started with")
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        return Respondent(load_engine(self._settings, folder))
