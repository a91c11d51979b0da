"""Waves of requests: every question's next order, as long as it is answered right.

A question counts in a worst-case column only if every order is answered right, so it is done at its first wrong one.
The result is that of asking every order. (FoolyourVLLMs stops there too: arXiv 2310.01651, `VLLMs_attack.py`.)
"""

from collections.abc import Iterable, Mapping

from ards_ray.evaluation.answers import Answer, Request, judge, request_of
from ards_ray.evaluation.attacks import Attack, Plan, Series, series_of
from ards_ray.evaluation.prompts import Style
from ards_ray.evaluation.question import Question

# From a question's id and a prompt to what the model answered: the same prompt is the same request.
Recorded = Mapping[tuple[str, str], str]


class _Track:
    """A question on its way through a series: the answers so far, and the request that is next; None when done."""

    def __init__(self, question: Question, style: Style, series: Series):
        self._style = style
        self.answers: list[Answer] = []
        self.next: Request | None = request_of(question, style, series, 0)

    def record(self, request: Request, rows: list[Answer]) -> None:
        self.answers += rows
        index = request.index + 1
        more = rows[0].correct and index < len(request.series.orders)
        self.next = request_of(request.question, self._style, request.series, index) if more else None


class Waves:
    """The questions of a benchmark, or of a shard of it, asked in waves.

    A wave holds the next request of each series of the questions under way. Those are `width` at a time, and each
    stays until it is done: its orders follow one another closely, as a prefix cache needs. Neither the width nor the
    order of questions or of answers changes a result or how much is asked.

        while wave := waves.next():
            for request in wave:
                waves.record(request, answer_of(request))

    Args:
        benchmark: Name of the benchmark.
        style: How its questions are written.
        questions: Questions that can be evaluated, each with an id of its own. Several waves may share an iterator:
            each takes its next question from it.
        plan: What is asked.
        width: Questions under way at a time; may be changed between waves.
        recorded: Answers that are known, and not asked for again.

    Attributes:
        failed: Errors of the questions that were given up, by id.
    """

    def __init__(
        self,
        benchmark: str,
        style: Style,
        questions: Iterable[Question],
        plan: Plan,
        width: int,
        recorded: Recorded | None = None,
    ):
        self._benchmark = benchmark
        self._style = style
        self._waiting = iter(questions)
        self._plan = plan
        self.width = width
        self._recorded = recorded or {}
        self._tracks: dict[str, dict[tuple[Attack, ...], _Track]] = {}
        self._under_way: list[str] = []
        self.failed: dict[str, str] = {}

    def next(self) -> list[Request]:
        """The wave: requests that wait for an answer. None are left when all questions are done."""
        self._under_way = [id for id in self._under_way if self._requests(id)]
        while len(self._under_way) < self.width:
            question = next(self._waiting, None)
            if question is None:
                break
            self._start(question)
            if self._requests(question.id):
                self._under_way.append(question.id)
        return [request for id in self._under_way for request in self._requests(id)]

    def record(self, request: Request, answer: str) -> list[Answer]:
        """Take the answer to a request of the wave.

        Returns:
            The rows that it gives, and those of answers known before that come behind it.
        """
        if request.question.id in self.failed:
            return []
        track = self._tracks[request.question.id][request.series.given]
        if track.next != request:
            raise ValueError(f"question {request.question.id}: no answer to order {request.order} is waited for")
        before = len(track.answers)
        track.record(request, self._judge(request, answer))
        self._replay(track)
        return track.answers[before:]

    def fail(self, question: Question, error: str) -> None:
        """Give up a question, because its image is missing for instance: it counts in no column.

        Args:
            question: A question under way.
            error: Why, as `reason` or `reason: detail`.
        """
        self._tracks[question.id] = {}
        self.failed[question.id] = error

    def answers(self) -> list[Answer]:
        """The rows so far: by question as they were taken, then series, then order, however the answers came."""
        return [row for tracks in self._tracks.values() for track in tracks.values() for row in track.answers]

    def _start(self, question: Question) -> None:
        series = series_of(question, self._plan)
        self._tracks[question.id] = {one.given: _Track(question, self._style, one) for one in series}
        for track in self._tracks[question.id].values():
            self._replay(track)

    def _replay(self, track: _Track) -> None:
        """Take the answers that are known."""
        while track.next is not None:
            answer = self._recorded.get((track.next.question.id, track.next.prompt))
            if answer is None:
                break
            track.record(track.next, self._judge(track.next, answer))

    def _requests(self, id: str) -> list[Request]:
        return [track.next for track in self._tracks[id].values() if track.next is not None]

    def _judge(self, request: Request, answer: str) -> list[Answer]:
        return judge(self._benchmark, request, answer, self._plan.matching)
