"""Who answers requests: opens their images and asks the engine."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ards_ray.config import LimitSettings, Links
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.engine import Ask, Engine, EngineSettings, Shown, load_engine
from ards_ray.evaluation.images import ImageSource, open_image
from ards_ray.models.checkpoint import checkpoint_digest, checkpoint_folder
from ards_ray.storage.location import locate

_THREADS = 8
_IMAGE_BYTES = 512 << 20


@dataclass(frozen=True)
class Inquiry:
    """A request as it is sent to a respondent.

    Attributes:
        prompt: What the user says, with an image tag for each image.
        images: Where the images lie.
        folder: The image folder, for image files.
        links: Whether symbolic links in it that lead out of it are followed.
        symbols: The options' symbols; none for a free answer.
    """

    prompt: str
    images: tuple[ImageSource, ...]
    folder: str | None
    symbols: tuple[str, ...]
    links: Links = "refuse"


@dataclass(frozen=True)
class Reply:
    """What came of a request: an answer, or why there is none."""

    answer: str = ""
    error: str | None = None


_Key = tuple[ImageSource, str | None, Links]


def _keys(inquiry: Inquiry) -> list[_Key]:
    return [(source, inquiry.folder, inquiry.links) for source in inquiry.images]


class Respondent:
    """An engine, and the images of the questions that are under way.

    Attributes:
        width: See `Engine`.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.width = engine.width
        self._images: OrderedDict[_Key, Shown | ConversationError] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS)

    def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
        """The replies to requests, in their order.

        Raises:
            CorpusError: a file that holds images is missing or corrupt.
            OSError: the storage failed.
        """
        images = self._open({key for inquiry in inquiries for key in _keys(inquiry)})
        replies: dict[int, Reply] = {}
        asks: dict[int, Ask] = {}
        for index, inquiry in enumerate(inquiries):
            shown = [images[key] for key in _keys(inquiry)]
            errors = [one for one in shown if isinstance(one, ConversationError)]
            if errors:
                replies[index] = Reply(error=str(errors[0]))
            else:
                good = tuple(one for one in shown if isinstance(one, Shown))
                asks[index] = Ask(inquiry.prompt, good, inquiry.symbols)
        for index, answer in zip(asks, self._engine.answer(list(asks.values())), strict=True):
            failed = isinstance(answer, ConversationError)
            replies[index] = Reply(error=str(answer)) if failed else Reply(str(answer))
        return [replies[index] for index in range(len(inquiries))]

    def _open(self, keys: set[_Key]) -> Mapping[_Key, Shown | ConversationError]:
        missing = [key for key in keys if key not in self._images]
        self._images.update(zip(missing, self._threads.map(self._show, missing), strict=True))
        found = {key: self._images[key] for key in keys}
        for key in found:
            self._images.move_to_end(key)
        size = sum(one.size for one in self._images.values() if isinstance(one, Shown))
        while size > _IMAGE_BYTES and len(self._images) > len(found):
            _, oldest = self._images.popitem(last=False)
            size -= oldest.size if isinstance(oldest, Shown) else 0
        return found

    def _show(self, key: _Key) -> Shown | ConversationError:
        source, folder, links = key
        inputs = self._engine.inputs
        place = None if folder is None else locate(folder)
        try:
            image = open_image(source, place, LimitSettings().pixels, inputs.upright, links)
            return Shown(repr(key), inputs.picture(image), image if self._engine.takes_images else None)
        except ConversationError as error:
            return error


def load_respondent(settings: EngineSettings, model: str) -> Respondent:
    """The model in this process.

    Args:
        settings: The model and how it answers.
        model: Digest of the checkpoint.

    Raises:
        SettingsError: the checkpoint is not the one of the run, or cannot be loaded.
    """
    folder = checkpoint_folder(str(settings.proxy.model))
    if checkpoint_digest(folder) != model:
        raise SettingsError(f"{folder}: not the checkpoint that the job was started with")
    # Imported late: what only reads answers does not wait for it.
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return Respondent(load_engine(settings, folder))
