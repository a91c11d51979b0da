"""The question queue: the questions of all benchmarks, from which each lane of work takes its next requests."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ards_ray.config import Links
from ards_ray.evaluation.answers import Answer, Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.prompts import Style
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.respondent import Inquiry, Reply
from ards_ray.evaluation.waves import Recorded, Waves

# Called with what was answered: the benchmark, requests and answers.
Store = Callable[[str, Sequence[tuple[Request, str]]], None]


@dataclass(frozen=True)
class Examination:
    """A benchmark on its way through the queue.

    Attributes:
        benchmark: Its name.
        style: How its questions are written.
        questions: Those that can be evaluated, in its order.
        folder: The image folder.
        plan: What is asked.
        recorded: Answers that are known.
        links: Whether symbolic links in the image folder that lead out of it are followed.
        waves: The waves of each lane that took questions of it.
    """

    benchmark: str
    style: Style
    questions: Sequence[Question]
    folder: str | None
    plan: Plan
    recorded: Recorded
    links: Links = "refuse"
    waves: list[Waves] = field(default_factory=list)

    def answers(self) -> list[Answer]:
        """The rows, by question in the benchmark's order, then series, then order."""
        places = {question.id: place for place, question in enumerate(self.questions)}
        rows = [row for waves in self.waves for row in waves.answers()]
        return sorted(rows, key=lambda row: places[row.question])

    def failed(self) -> list[NotEvaluated]:
        """The questions that were given up, in the benchmark's order."""
        failed = {id: error for waves in self.waves for id, error in waves.failed.items()}
        return [NotEvaluated(one.id, failed[one.id]) for one in self.questions if one.id in failed]


@dataclass(frozen=True)
class Queued:
    """A request of a benchmark, and the waves that wait for its answer."""

    examination: Examination
    waves: Waves
    request: Request

    @property
    def inquiry(self) -> Inquiry:
        """The request as it is sent to a respondent."""
        question, examination = self.request.question, self.examination
        return Inquiry(
            self.request.prompt, question.images, examination.folder, self.request.symbols, examination.links
        )


class QuestionQueue:
    """The questions of all benchmarks.

        (lane,) = queue.lanes(1)
        while some := lane.next():
            lane.record(some, replies_to(some))

    Neither the number of lanes nor their width changes a result or how much is asked.

    Args:
        examinations: The benchmarks.
        store: Keeps answers.
    """

    def __init__(self, examinations: Sequence[Examination], store: Store):
        self.examinations = examinations
        self.store = store
        # An answered request, with which it can be tried whether anything is still answered.
        self.answered: Queued | None = None
        self._sources = [iter(one.questions) for one in examinations]
        self._lanes: list[Lane] = []

    def __len__(self) -> int:
        """How many questions there are, the answered ones too."""
        return sum(len(one.questions) for one in self.examinations)

    def is_waiting(self) -> bool:
        """Whether there is anything to ask. Takes the answers that are known, up to the first question without."""
        return self.lanes(1)[0].is_waiting()

    def lanes(self, count: int) -> Sequence["Lane"]:
        """The first `count` lanes, each of which takes its next questions when it is asked for its next requests."""
        while len(self._lanes) < count:
            waves = [
                # Wider when a model is loaded and says how many questions it likes.
                Waves(one.benchmark, one.style, source, one.plan, 1, one.recorded)
                for one, source in zip(self.examinations, self._sources, strict=True)
            ]
            for one, some in zip(self.examinations, waves, strict=True):
                one.waves.append(some)
            self._lanes.append(Lane(self, list(zip(self.examinations, waves, strict=True))))
        return self._lanes[:count]

    def share(self, examination: Examination) -> int:
        """How many questions of a benchmark a lane may have under way so that all lanes have some."""
        return -(-len(examination.questions) // len(self._lanes))


class Lane:
    """The questions that are worked on together, one wave of requests at a time."""

    def __init__(self, queue: QuestionQueue, waves: Iterable[tuple[Examination, Waves]]):
        self._queue = queue
        self._all = list(waves)
        self._left = deque(self._all)

    def next(self) -> list[Queued]:
        """The requests that wait for an answer, or those of the next questions; none when all is asked."""
        while self._left:
            examination, waves = self._left[0]
            if requests := waves.next():
                return [Queued(examination, waves, request) for request in requests]
            self._left.popleft()
        return []

    def is_waiting(self) -> bool:
        """Whether there is a next request. It is not taken by asking."""
        return bool(self.next())

    def wanted(self, some: Sequence[Queued]) -> list[Queued]:
        """Those requests whose question was not given up."""
        return [one for one in some if one.request.question.id not in one.waves.failed]

    def record(self, some: Sequence[Queued], replies: Sequence[Reply]) -> int:
        """Take and keep the replies to requests of one wave.

        Returns:
            How many answers there were.
        """
        answered = [(one, reply.answer) for one, reply in zip(some, replies, strict=True) if reply.error is None]
        self._queue.store(some[0].examination.benchmark, [(one.request, text) for one, text in answered])
        for one, reply in zip(some, replies, strict=True):
            if reply.error is not None:
                self.fail(one, reply.error)
        for one, text in answered:
            one.waves.record(one.request, text)
            self._queue.answered = self._queue.answered or one
        return len(answered)

    def fail(self, one: Queued, reason: str) -> None:
        """Give up the question of a request: it counts in no column."""
        one.waves.fail(one.request.question, reason)

    def done_before(self) -> list[Queued]:
        """A request that was answered, or none."""
        return [] if self._queue.answered is None else [self._queue.answered]

    def widen(self, width: int) -> None:
        """Have so many questions under way at a time, or this lane's share of them."""
        for examination, waves in self._all:
            waves.width = max(1, min(width, self._queue.share(examination)))
