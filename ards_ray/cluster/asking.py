"""Waves of requests through replicas of the model: each question stays with one, and each takes the next when free."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from ards_ray.cluster.failure import DEATHS
from ards_ray.cluster.replica import Replica
from ards_ray.cluster.resources import Workers
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Answer, Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.engine import WIDTH, EngineSettings
from ards_ray.evaluation.prompts import Style
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.respondent import Inquiry, Reply
from ards_ray.evaluation.waves import Recorded, Waves

# A replica has two waves in turn: it works on one while the answers to the other are taken.
LANES = 2
# Requests over which a process died so often are halved, and a single one is blamed.
DEATHS_BLAMED = 2
# So many deaths with no answer between them are not because of questions; to halve a wave takes ten or so.
DEATHS_IN_A_ROW = 32
DEATHS_LOADING = 3


@dataclass(frozen=True)
class Examination:
    """A benchmark on its way through the replicas.

    Attributes:
        benchmark: Its name.
        style: How its questions are written.
        questions: Those that can be evaluated, in its order.
        folder: The image folder.
        plan: What is asked.
        recorded: Answers that are known.
        waves: The waves of each replica that took questions of it.
    """

    benchmark: str
    style: Style
    questions: Sequence[Question]
    folder: str | None
    plan: Plan
    recorded: Recorded
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
class _Sent:
    """Requests of a wave, or of a piece of it, and how often the process died over them."""

    examination: Examination
    waves: Waves
    requests: Sequence[Request]
    deaths: int = 0


class _Lane:
    """The questions that a replica works through, one wave at a time."""

    def __init__(self, queue: Sequence[tuple[Examination, Waves]]):
        self._queue = deque(queue)
        self._pieces: deque[_Sent] = deque()

    def next(self) -> _Sent | None:
        """What is left of a wave whose process died, or the next wave; None when all is asked."""
        if self._pieces:
            return self._pieces.popleft()
        while self._queue:
            examination, waves = self._queue[0]
            if requests := waves.next():
                return _Sent(examination, waves, requests)
            self._queue.popleft()
        return None

    def again(self, sent: _Sent) -> None:
        """Let requests be the next, that were not answered."""
        self._pieces.appendleft(sent)

    def blame(self, sent: _Sent) -> None:
        """Ask again what the process died over; in halves if it did so before, and then not if it is one request."""
        deaths = sent.deaths + 1
        requests = sent.requests
        if deaths < DEATHS_BLAMED:
            self.again(_Sent(sent.examination, sent.waves, requests, deaths))
        elif len(requests) > 1:
            half = len(requests) // 2
            for some in (requests[half:], requests[:half]):
                self.again(_Sent(sent.examination, sent.waves, some, sent.deaths))
        else:
            sent.waves.fail(requests[0].question, "killed the process that answered it")

    def limit(self, width: int) -> None:
        """Have no more questions under way at a time."""
        for _, waves in self._queue:
            waves.width = max(1, min(waves.width, width))


# Called with what a replica answered: the benchmark, requests and answers.
Store = Callable[[str, Sequence[tuple[Request, str]]], None]


def examine(
    examinations: Sequence[Examination], workers: Workers, settings: EngineSettings, model: str, store: Store
) -> Iterator[int]:
    """Ask all questions, yielding the number of answers whenever some came.

    A question that kills the process which answers it is given up, and no other with it.

    Args:
        examinations: The benchmarks; their waves hold the answers afterwards.
        workers: The replicas.
        settings: The model and how it answers.
        model: Digest of the checkpoint.
        store: Keeps answers.

    Raises:
        ArdsError: a process dies while it loads the model, or whatever it is asked.
        Exception: what a replica raised.
    """
    total = sum(len(examination.questions) for examination in examinations)
    lanes = _lanes(examinations, LANES * min(workers.count, max(total, 1)))
    holders = [_Holder(workers, settings, model, lanes[first : first + LANES]) for first in range(0, len(lanes), LANES)]
    deaths = 0
    try:
        for holder in holders:
            if holder.has_work():
                holder.start()
        while calls := {call: holder for holder in holders for call in holder.calls}:
            (ready,), _ = ray.wait(list(calls))
            holder = calls[ready]
            try:
                came = ray.get(ready)
            except DEATHS as error:
                deaths += 1
                if deaths >= DEATHS_IN_A_ROW or holder.deaths_loading >= DEATHS_LOADING - 1:
                    raise ArdsError(
                        f"the process that holds the model died {max(deaths, DEATHS_LOADING)} times in a row; see the "
                        f"workers' logs. All answers before are kept. The last time: {error}"
                    ) from error
                holder.bury()
                continue
            sent = holder.take(ready, came)
            if sent is not None:
                deaths = 0
                yield _take(sent, came, store)
            holder.send()
    finally:
        for holder in holders:
            holder.end()


def _lanes(examinations: Sequence[Examination], count: int) -> list[_Lane]:
    queues: list[list[tuple[Examination, Waves]]] = [[] for _ in range(count)]
    for one in examinations:
        source = iter(one.questions)
        # Few questions are shared out evenly.
        width = min(WIDTH // LANES, -(-len(one.questions) // count))
        for queue in queues:
            waves = Waves(one.benchmark, one.style, source, one.plan, width, one.recorded)
            one.waves.append(waves)
            queue.append((one, waves))
    return [_Lane(queue) for queue in queues]


def _take(sent: _Sent, replies: Sequence[Reply], store: Store) -> int:
    answered = [
        (request, reply.answer) for request, reply in zip(sent.requests, replies, strict=True) if reply.error is None
    ]
    store(sent.examination.benchmark, answered)
    for request, reply in zip(sent.requests, replies, strict=True):
        if reply.error is not None:
            sent.waves.fail(request.question, reply.error)
    for request, answer in answered:
        sent.waves.record(request, answer)
    return len(answered)


class _Holder:
    """The process of a replica, as the driver sees it.

    Attributes:
        calls: What was sent to it and has no answer yet, in that order: requests, with their lane, or None for the
            call that loads the model.
        deaths_loading: How often in a row it died before the model was loaded.
    """

    def __init__(self, workers: Workers, settings: EngineSettings, model: str, lanes: Sequence[_Lane]):
        self._kind: Any = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_restarts=0, max_task_retries=0)(
            Replica
        )
        self._arguments = (settings, model)
        self._lanes = lanes
        self._actor: Any = None
        self.calls: dict[Any, tuple[_Lane, _Sent] | None] = {}
        self.deaths_loading = 0

    def has_work(self) -> bool:
        """Whether there is anything to ask."""
        first = [(lane, lane.next()) for lane in self._lanes]
        for lane, sent in first:
            if sent is not None:
                lane.again(sent)
        return any(sent is not None for _, sent in first)

    def start(self) -> None:
        """Start the process; it loads the model."""
        self._actor = self._kind.remote(*self._arguments)
        self.calls[self._actor.width.remote()] = None

    def send(self) -> None:
        """Send the next of each lane that waits for no answer; end the process if there is none."""
        busy = [out[0] for out in self.calls.values() if out is not None]
        for lane in self._lanes:
            sent = None if lane in busy else lane.next()
            if sent is not None:
                inquiries = [
                    Inquiry(request.prompt, request.question.images, sent.examination.folder, request.symbols)
                    for request in sent.requests
                ]
                self.calls[self._actor.reply.remote(inquiries)] = (lane, sent)
        if not self.calls:
            self.end()

    def take(self, call: Any, came: Any) -> _Sent | None:
        """What a call was about that has come back; None if the model is loaded now."""
        out = self.calls.pop(call)
        if out is not None:
            return out[1]
        self.deaths_loading = 0
        for lane in self._lanes:
            lane.limit(came // LANES)
        return None

    def bury(self) -> None:
        """Start another process, which is asked again what was not answered; the oldest call is blamed."""
        dead = [call for call in self.calls if _is_dead(call)]
        for place, call in enumerate(dead):
            out = self.calls.pop(call)
            if out is None:
                self.deaths_loading += 1
                continue
            lane, sent = out
            if place == 0:
                lane.blame(sent)
            else:
                lane.again(sent)
        self.end()
        self.start()

    def end(self) -> None:
        """End the process."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


def _is_dead(call: Any) -> bool:
    """Whether the process died before it answered."""
    try:
        ray.get(call)
    except DEATHS:
        return True
    return False
