"""Waves of requests through replicas of the model: each question stays with one, and each takes the next when free."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from ards_ray.cluster.failure import DEATHS, DEATHS_BLAMED, DEATHS_IN_A_ROW, is_alive
from ards_ray.cluster.replica import EngineFailed, Replica
from ards_ray.cluster.resources import Workers
from ards_ray.config import Links
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Answer, Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.prompts import Style
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.respondent import Inquiry, Reply
from ards_ray.evaluation.waves import Recorded, Waves

# A replica has two waves in turn: it works on one while the answers to the other are taken.
LANES = 2
DEATHS_LOADING = 3


@dataclass(frozen=True)
class Examination:
    """A benchmark on its way through the replicas.

    Attributes:
        benchmark: Its name.
        style: How its questions are written.
        questions: Those that can be evaluated, in its order.
        folder: The image folder.
        links: Whether symbolic links in it that lead out of it are followed.
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
class _Sent:
    """Requests of a wave, or of a piece of it, and how often the process died over them."""

    examination: Examination
    waves: Waves
    requests: Sequence[Request]
    deaths: int = 0


class _Lane:
    """The questions that a replica works through, one wave at a time.

    Args:
        queue: The benchmarks and their waves.
        shares: Of each, how many questions may be under way so that all lanes have some.

    Attributes:
        pieces: What is left of a wave whose process died; it is asked again before the next wave.
    """

    def __init__(self, queue: Sequence[tuple[Examination, Waves]], shares: Sequence[int]):
        self._queue = deque(queue)
        self._shares = list(zip(queue, shares, strict=True))
        self.pieces: deque[_Sent] = deque()

    def next(self) -> _Sent | None:
        """A piece of a wave whose process died, or the next wave; None when all is asked."""
        while self.pieces:
            sent = self.pieces.popleft()
            requests = [one for one in sent.requests if one.question.id not in sent.waves.failed]
            if requests:
                return replace(sent, requests=requests)
        while self._queue:
            examination, waves = self._queue[0]
            if requests := waves.next():
                return _Sent(examination, waves, requests)
            self._queue.popleft()
        return None

    def blame(self, sent: _Sent, reason: str) -> None:
        """Ask again what the process died over: in halves if it did so before, not at all if it is one request."""
        deaths = sent.deaths + 1
        requests = sent.requests
        if deaths < DEATHS_BLAMED:
            self.pieces.appendleft(replace(sent, deaths=deaths))
        elif len(requests) > 1:
            half = len(requests) // 2
            for some in (requests[half:], requests[:half]):
                # A single one must do it as often by itself.
                self.pieces.appendleft(replace(sent, requests=some, deaths=sent.deaths if len(some) > 1 else 0))
        else:
            sent.waves.fail(requests[0].question, reason)

    def widen(self, width: int) -> None:
        """Have so many questions under way at a time, or this lane's share of them."""
        for (_, waves), share in self._shares:
            waves.width = max(1, min(width, share))


# Called with what a replica answered: the benchmark, requests and answers.
Store = Callable[[str, Sequence[tuple[Request, str]]], None]


def examine(
    examinations: Sequence[Examination], workers: Workers, settings: EngineSettings, model: str, store: Store
) -> Iterator[int]:
    """Ask all questions, yielding the number of answers whenever some came.

    A question that kills the process which answers it is given up, and no other with it: the wave of requests over
    which it died twice is halved, until a single one does so. So is one of which the model's libraries raise an error:
    the process is of no more use, since nobody knows what state they and the device are in.

    Args:
        examinations: The benchmarks; their waves hold the answers afterwards.
        workers: The replicas.
        settings: The model and how it answers.
        model: Digest of the checkpoint.
        store: Keeps answers.

    Raises:
        ArdsError: a process dies while it loads the model, or whatever it is asked.
        Exception: a replica cannot answer for another reason, such as images that cannot be read.
    """
    total = sum(len(examination.questions) for examination in examinations)
    lanes = _lanes(examinations, LANES * min(workers.count, max(total, 1)))
    holders = [_Holder(workers, settings, model, lanes[first : first + LANES]) for first in range(0, len(lanes), LANES)]
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
                holder.bury(error, "killed the process that answered it")
                continue
            except ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, EngineFailed):
                    raise
                holder.bury(error, f"could not be answered: {error.cause}")
                continue
            sent = holder.take(ready, came)
            if sent is not None:
                yield _take(sent, came, store)
            holder.send()
    finally:
        for holder in holders:
            holder.end()


def _lanes(examinations: Sequence[Examination], count: int) -> list[_Lane]:
    queues: list[list[tuple[Examination, Waves]]] = [[] for _ in range(count)]
    for one in examinations:
        source = iter(one.questions)
        for queue in queues:
            # More when the model is loaded, and says how many it likes.
            waves = Waves(one.benchmark, one.style, source, one.plan, 1, one.recorded)
            one.waves.append(waves)
            queue.append((one, waves))
    shares = [-(-len(one.questions) // count) for one in examinations]
    return [_Lane(queue, shares) for queue in queues]


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
    """

    def __init__(self, workers: Workers, settings: EngineSettings, model: str, lanes: Sequence[_Lane]):
        self._kind: Any = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_restarts=0, max_task_retries=0)(
            Replica
        )
        self._arguments = (settings, model)
        self._lanes = lanes
        self._actor: Any = None
        self.calls: dict[Any, tuple[_Lane, _Sent] | None] = {}
        self._node = ""
        self._deaths = self._deaths_loading = 0
        # A request that was answered.
        self._known: Sequence[Inquiry] = ()

    def has_work(self) -> bool:
        """Whether there is anything to ask."""
        for lane in self._lanes:
            sent = lane.next()
            if sent is not None:
                lane.pieces.append(sent)
        return any(lane.pieces for lane in self._lanes)

    def start(self) -> None:
        """Start the process; it loads the model."""
        self._actor = self._kind.remote(*self._arguments)
        self.calls[self._actor.load.remote()] = None

    def send(self) -> None:
        """Send the next of each lane that waits for no answer; end the process if there is none.

        Pieces go one at a time, so that it is known which of them the process dies over.
        """
        busy = [out[0] for out in self.calls.values() if out is not None]
        while True:
            pieces = [lane for lane in self._lanes if lane.pieces]
            if pieces and self.calls:
                return
            for lane in pieces[:1] or self._lanes:
                if lane not in busy and (sent := lane.next()) is not None:
                    self.calls[self._actor.reply.remote(_inquiries(sent))] = (lane, sent)
            if self.calls or not pieces:
                break
        if not self.calls:
            self.end()

    def take(self, call: Any, came: Any) -> _Sent | None:
        """What a call was about that has come back; None if the model is loaded now."""
        out = self.calls.pop(call)
        if out is not None:
            self._deaths = 0
            if not self._known:
                answered = zip(_inquiries(out[1]), came, strict=True)
                self._known = [inquiry for inquiry, reply in answered if reply.error is None][:1]
            return out[1]
        self._deaths_loading = 0
        self._node, width = came
        for lane in self._lanes:
            lane.widen(width // LANES)
        return None

    def bury(self, error: Exception, reason: str) -> None:
        """Start another process, which is asked again what was not answered.

        The oldest call is blamed, unless the process died before it was loaded, or with its node.

        Args:
            error: What Ray said.
            reason: Why a question is given up, if it is a single one's.

        Raises:
            ArdsError: it dies while it loads the model, or whatever it is asked.
        """
        self.end()
        lost = [self.calls.pop(call) for call in list(self.calls) if not _is_answered(call)]
        is_loaded = None not in lost
        self._deaths += is_loaded
        self._deaths_loading += not is_loaded
        often = is_loaded and self._deaths % DEATHS_IN_A_ROW == 0
        if self._deaths_loading >= DEATHS_LOADING or (often and not self._still_answers()):
            doing = f"{self._deaths} times in a row, whatever it was asked"
            if not is_loaded:
                doing = f"{self._deaths_loading} times while it loaded the model"
            raise ArdsError(
                f"the process that holds the model died {doing}; see the workers' logs. "
                f"All answers before are kept. The last time: {error}"
            ) from error
        sent = [out for out in lost if out is not None]
        if sent and is_loaded and is_alive(self._node):
            lane, blamed = sent.pop(0)
            lane.blame(blamed, reason)
        for lane, other in sent:
            lane.pieces.append(other)
        self.start()

    def _still_answers(self) -> bool:
        """Whether what was answered before can be answered now."""
        if not self._known:
            return False
        actor = self._kind.remote(*self._arguments)
        try:
            ray.get(actor.reply.remote(self._known))
        except ray.exceptions.RayError:
            return False
        finally:
            ray.kill(actor)
        return True

    def end(self) -> None:
        """End the process."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


def _inquiries(sent: _Sent) -> list[Inquiry]:
    return [
        Inquiry(
            request.prompt, request.question.images, sent.examination.folder, request.symbols, sent.examination.links
        )
        for request in sent.requests
    ]


def _is_answered(call: Any) -> bool:
    try:
        ray.get(call)
    except ray.exceptions.RayError:
        return False
    return True
