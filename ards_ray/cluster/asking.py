"""Waves of requests through replicas of the model: each question stays with one, and each takes the next when free."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from ards_ray.cluster.replica import Replica
from ards_ray.cluster.resources import Workers
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Answer, Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.prompts import Style
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.respondent import Inquiry, Reply
from ards_ray.evaluation.waves import Recorded, Waves

# Questions under way at a replica: enough for a batch, few enough that their orders stay in the prefix cache.
WIDTH = 256
# A process that dies so often over the same requests will not live through them.
DEATHS = 3


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
    """Requests that a replica has."""

    replica: int
    examination: Examination
    waves: Waves
    requests: Sequence[Request]
    deaths: int


# Called with what a replica answered: the benchmark, requests and answers. Where it returns they are safe.
Store = Callable[[str, Sequence[tuple[Request, str]]], None]


def examine(
    examinations: Sequence[Examination], workers: Workers, settings: EngineSettings, model: str, store: Store
) -> Iterator[int]:
    """Ask all questions, yielding the number of answers whenever some came.

    Args:
        examinations: The benchmarks; their waves hold the answers afterwards.
        workers: The replicas.
        settings: The model and how it answers.
        model: Digest of the checkpoint.
        store: Keeps answers.

    Raises:
        ArdsError: a replica's process dies again and again.
        Exception: what a replica raised.
    """
    pool = _Pool(workers, settings, model)
    total = sum(len(examination.questions) for examination in examinations)
    count = min(workers.count, max(total, 1))
    queues = [deque[tuple[Examination, Waves]]() for _ in range(count)]
    for examination in examinations:
        source = iter(examination.questions)
        width = min(WIDTH, -(-len(examination.questions) // count))
        for queue in queues:
            waves = Waves(
                examination.benchmark, examination.style, source, examination.plan, width, examination.recorded
            )
            examination.waves.append(waves)
            queue.append((examination, waves))
    flying: dict[Any, _Sent] = {}
    try:
        for replica, queue in enumerate(queues):
            _send_next(pool, queue, replica, flying)
        while flying:
            (ready,), _ = ray.wait(list(flying))
            sent = flying.pop(ready)
            try:
                replies: Sequence[Reply] = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                if sent.deaths + 1 >= DEATHS:
                    raise ArdsError(
                        f"{sent.examination.benchmark}: the process died {DEATHS} times over the same requests, "
                        f"see the workers' logs. All answers before are kept. The last time: {error}"
                    ) from error
                pool.end(sent.replica)
                _send(pool, flying, _Sent(sent.replica, sent.examination, sent.waves, sent.requests, sent.deaths + 1))
                continue
            yield _take(sent, replies, store)
            _send_next(pool, queues[sent.replica], sent.replica, flying)
    finally:
        pool.close()


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


def _send_next(pool: "_Pool", queue: deque[tuple[Examination, Waves]], replica: int, flying: dict[Any, _Sent]) -> None:
    while queue:
        examination, waves = queue[0]
        requests = waves.next()
        if requests:
            _send(pool, flying, _Sent(replica, examination, waves, requests, 0))
            return
        queue.popleft()
    pool.end(replica)


def _send(pool: "_Pool", flying: dict[Any, _Sent], sent: _Sent) -> None:
    inquiries = [
        Inquiry(request.prompt, request.question.images, sent.examination.folder, request.symbols)
        for request in sent.requests
    ]
    flying[pool.actor(sent.replica).reply.remote(inquiries)] = sent


class _Pool:
    """The replicas, each started when it is first needed."""

    def __init__(self, workers: Workers, settings: EngineSettings, model: str):
        self._actor: Any = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_restarts=0, max_task_retries=0)(
            Replica
        )
        self._arguments = (settings, model)
        self._actors: dict[int, Any] = {}

    def actor(self, replica: int) -> Any:
        if replica not in self._actors:
            self._actors[replica] = self._actor.remote(*self._arguments)
        return self._actors[replica]

    def end(self, replica: int) -> None:
        if replica in self._actors:
            ray.kill(self._actors.pop(replica))

    def close(self) -> None:
        for replica in list(self._actors):
            self.end(replica)
