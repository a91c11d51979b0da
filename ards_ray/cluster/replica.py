"""The process that holds a replica of the evaluated model."""

from collections.abc import Sequence
from functools import cached_property

import ray

from ards_ray.cluster.isolate import Useless
from ards_ray.errors import ArdsError
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.respondent import Inquiry, Reply, Respondent, load_respondent

# A replica has the requests of two lanes in turn: it works on one while the answers to the other are taken.
LANES = 2


class Replica:
    """Answers requests, a wave at a time."""

    def __init__(self, settings: EngineSettings, model: str):
        self._settings = settings
        self._model = model

    def load(self) -> tuple[str, int]:
        """Load the model. Gives the node that it lies on, and how many questions a lane should have under way.

        Raises:
            SettingsError: the model is not the one of the run, or cannot be loaded.
        """
        return ray.get_runtime_context().get_node_id(), self._respondent.width // LANES

    def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
        """See `Respondent.reply`.

        Raises:
            Useless: the model's libraries raised an error; in what state they and the device are nobody knows.
        """
        try:
            return self._respondent.reply(inquiries)
        except (ArdsError, OSError):
            raise
        except Exception as error:
            # As text: not every library's errors can travel.
            text = " ".join(str(error).split())
            raise Useless(f"could not be answered: {type(error).__name__}: {text}") from error

    @cached_property
    def _respondent(self) -> Respondent:
        # Not in the constructor: of an actor that dies there only a trace comes back.
        return load_respondent(self._settings, self._model)
