"""Metrics of a benchmark, from its answers alone."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ards_ray.corruption.permutation import Order, rotations
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import CUT, Answer
from ards_ray.evaluation.attacks import ATTACKS, Attack, is_exhaustive, order_count

# From an order to whether it was answered right.
_Outcomes = Mapping[Order, bool]


@dataclass(frozen=True)
class _Options:
    """How many options a question has, and the places of those that stay in every order."""

    count: int
    fixed: Order

    @property
    def orders(self) -> int:
        return order_count(self.count, self.fixed)


@dataclass(frozen=True)
class OrderMetrics:
    """What a worst-case column's answers say beside the worst case. All in percent.

    Attributes:
        rotation: Questions with every rotation right (CircularEval, MMBench, arXiv 2307.06281).
        consistency: Of the questions right in the given order, those right in every order; None if there are none.
        mean_at_least: Mean over orders if every order that was not asked were answered wrong.
        mean_at_most: Mean over orders if every order that was not asked were answered right.
    """

    rotation: float
    consistency: float | None
    mean_at_least: float
    mean_at_most: float


@dataclass(frozen=True)
class Metrics:
    """A benchmark's row of the table. Accuracies are in percent and not rounded.

    Attributes:
        accuracy: By column: questions right in the given order; under permutation, questions right in every order.
        average: Mean of the four columns; None if one was not asked.
        gold_position: Questions right in the given order under letters, by the letter of the gold answer.
        orders: Further metrics of each worst-case column.
        questions: How many questions were answered.
        order_counts: How many questions have so many orders, by that number.
        fixed_options: How many questions have an option that stays in every order, since it speaks of others by place.
        requests: How many answers were needed, those that stand under two columns counted once.
        exhaustive_requests: How many it takes to ask every order of every question, or of its sample.
        cut: How many answers were cut because they grew too long.
        exhaustive: Whether the worst case is over all orders, and not over a sample for some question.
    """

    accuracy: Mapping[Attack, float]
    average: float | None
    gold_position: Mapping[str, float]
    orders: Mapping[Attack, OrderMetrics]
    questions: int
    order_counts: Mapping[int, int]
    fixed_options: int
    requests: int
    exhaustive_requests: int
    cut: int
    exhaustive: bool

    @property
    def saved(self) -> int:
        """Requests that stopping at the first wrong order spared."""
        return self.exhaustive_requests - self.requests

    def to_dict(self) -> dict[str, Any]:
        """As results.json has it."""
        columns: dict[str, Any] = {attack: self.accuracy.get(attack) for attack in ATTACKS}
        others = {name: value for name, value in vars(self).items() if name not in ("accuracy", "orders")}
        return columns | others | {"orders": {attack: vars(metrics) for attack, metrics in self.orders.items()}}


# Of a benchmark with no question that can be evaluated.
NO_METRICS = Metrics(
    accuracy={},
    average=None,
    gold_position={},
    orders={},
    questions=0,
    order_counts={},
    fixed_options=0,
    requests=0,
    exhaustive_requests=0,
    cut=0,
    exhaustive=True,
)


def metrics_by_benchmark(answers: Iterable[Answer]) -> dict[str, Metrics]:
    """The metrics of each benchmark, in the order in which they come.

    Raises:
        ArdsError: a question was not asked to its end; names it.
    """
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.benchmark].append(answer)
    return {benchmark: metrics_of(group) for benchmark, group in groups.items()}


def metrics_of(answers: Sequence[Answer]) -> Metrics:
    """The metrics of one benchmark's answers, of which there must be one at least.

    Raises:
        ArdsError: a question was not asked to its end; names it.
    """
    outcomes: dict[Attack, dict[str, dict[Order, bool]]] = {}
    options: dict[str, _Options] = {}
    requests: dict[tuple[str, bool, Order], str] = {}
    for answer in answers:
        outcomes.setdefault(answer.attack, {}).setdefault(answer.question, {})[answer.order] = answer.correct
        options[answer.question] = _Options(len(answer.order), answer.fixed)
        requests[answer.question, answer.attack.startswith("symbol"), answer.order] = answer.answer
    for attack, questions in outcomes.items():
        _check_complete(answers[0].benchmark, attack, questions, options)
    accuracy = {
        attack: _percent(all(questions[id].values()) for id in questions) for attack, questions in outcomes.items()
    }
    worst_cases = [attack for attack in outcomes if attack.endswith("permutation")]
    return Metrics(
        accuracy=accuracy,
        average=sum(accuracy.values()) / len(ATTACKS) if len(accuracy) == len(ATTACKS) else None,
        gold_position=_gold_positions(answers),
        orders={attack: _order_metrics(outcomes[attack], options) for attack in worst_cases},
        questions=len(options),
        order_counts=dict(sorted(Counter(one.orders for one in options.values()).items())),
        fixed_options=sum(bool(one.fixed) for one in options.values()),
        requests=len(requests),
        exhaustive_requests=_exhaustive_requests(outcomes, options.values()),
        cut=sum(text.endswith(CUT) for text in requests.values()),
        exhaustive=not worst_cases or all(is_exhaustive(one.count, one.fixed) for one in options.values()),
    )


def _check_complete(
    benchmark: str, attack: Attack, questions: Mapping[str, _Outcomes], options: Mapping[str, _Options]
) -> None:
    for id, one in options.items():
        outcomes = questions.get(id, {})
        wanted = one.orders if attack.endswith("permutation") else 1
        if len(outcomes) < wanted and all(outcomes.values()):
            raise ArdsError(
                f"{benchmark}: question {id} has {len(outcomes)} of {wanted} answers under {attack} and none is wrong; "
                "the evaluation is not finished: run it again to go on"
            )


def _order_metrics(questions: Mapping[str, _Outcomes], options: Mapping[str, _Options]) -> OrderMetrics:
    counts = [options[id].orders for id in questions]
    right = [sum(outcomes.values()) for outcomes in questions.values()]
    wrong = [len(outcomes) - sum(outcomes.values()) for outcomes in questions.values()]
    given = [outcomes for outcomes in questions.values() if outcomes[_given(outcomes)]]
    return OrderMetrics(
        # Rotations are asked before the other orders: one that was not asked stands behind a wrong one.
        rotation=_percent(
            all(outcomes.get(order, True) for order in rotations(options[id].count, options[id].fixed))
            for id, outcomes in questions.items()
        ),
        consistency=_percent(all(outcomes.values()) for outcomes in given) if given else None,
        mean_at_least=_percent(some / count for some, count in zip(right, counts, strict=True)),
        mean_at_most=_percent((count - some) / count for some, count in zip(wrong, counts, strict=True)),
    )


def _gold_positions(answers: Iterable[Answer]) -> dict[str, float]:
    """Accuracy in the given order under letters, by gold letter; free answers have none."""
    given = {
        answer.question: answer
        for answer in answers
        if answer.order and not answer.attack.startswith("symbol") and answer.order == _given([answer.order])
    }
    by_gold: dict[str, list[bool]] = defaultdict(list)
    for answer in given.values():
        by_gold[answer.gold].append(answer.correct)
    return {gold: _percent(by_gold[gold]) for gold in sorted(by_gold)}


def _exhaustive_requests(attacks: Collection[Attack], options: Collection[_Options]) -> int:
    """What it takes to ask every order that a plan holds, under each set of symbols that is used."""
    total = 0
    for pair in (("clean", "permutation"), ("symbol", "symbol+permutation")):
        if pair[1] in attacks:
            total += sum(one.orders for one in options)
        elif pair[0] in attacks:
            total += len(options)
    return total


def _given(orders: Iterable[Order]) -> Order:
    """The given order of as many options as the orders have."""
    return tuple(range(len(next(iter(orders)))))


def _percent(values: Iterable[float]) -> float:
    numbers = list(values)
    return 100 * sum(numbers) / len(numbers)
