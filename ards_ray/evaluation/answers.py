"""Requests and answers: what is asked of a model, and the rows of answers.parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from ards_ray.corruption.permutation import Order
from ards_ray.evaluation.attacks import Attack, Series
from ards_ray.evaluation.matching import MATCHERS, normalise
from ards_ray.evaluation.prompts import Style, render
from ards_ray.evaluation.question import Question

_PLACES = pa.list_(pa.field("item", pa.int8(), nullable=False))

ANSWERS = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("attack", pa.string(), nullable=False),
        pa.field("order", _PLACES, nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("parsed", pa.string()),
        pa.field("gold", pa.string(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("fixed", _PLACES, nullable=False),
    ]
)

# What an answer ends with that grew longer than an engine lets it.
CUT = "…"

# Answers as they come: what is known without asking again, as long as the images are the same.
RECORDED = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("images", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Request:
    """What is asked of a model once.

    Attributes:
        question: The question, for its images.
        series: The series that it belongs to.
        index: Which order of the series.
        prompt: What the user says.
        gold: The right answer: a symbol, or the free answer as it is compared.
    """

    question: Question
    series: Series
    index: int
    prompt: str
    gold: str

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The columns that the answer stands under."""
        return self.series.others if self.index else self.series.given

    @property
    def order(self) -> Order:
        """Place i has the option `order[i]`; empty for a free answer."""
        return self.series.orders[self.index]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each place; none for a free answer."""
        return self.series.symbols


@dataclass(frozen=True)
class Answer:
    """A row of answers.parquet: an answer as it stands under one column.

    Attributes:
        benchmark: Name of the benchmark.
        question: Id of the question.
        attack: The column.
        order: Place i had the option `order[i]`; empty for a free answer.
        prompt: What the user said.
        answer: What the model said.
        parsed: The symbol that it names, or the free answer as it is compared; None if it names no symbol.
        gold: The right answer, as `parsed`.
        correct: Whether they are the same.
        fixed: Places whose option stays in every order, since it speaks of others by place.
    """

    benchmark: str
    question: str
    attack: Attack
    order: Order
    prompt: str
    answer: str
    parsed: str | None
    gold: str
    correct: bool
    fixed: Order = ()


def request_of(question: Question, style: Style, series: Series, index: int) -> Request:
    """The request for one order of a series."""
    order = series.orders[index]
    if question.answer is not None:
        gold = normalise(question.answer)
    elif question.gold is not None:
        gold = series.symbols[order.index(question.gold)]
    else:
        raise ValueError(f"question {question.id} has no gold answer")
    return Request(question, series, index, render(question, style, order, series.symbols), gold)


def judge(benchmark: str, request: Request, answer: str, matching: str) -> list[Answer]:
    """The rows that an answer gives, one for each of its columns."""
    parsed = MATCHERS[matching](answer, request.symbols) if request.symbols else normalise(answer)
    return [
        Answer(
            benchmark=benchmark,
            question=request.question.id,
            attack=attack,
            order=request.order,
            prompt=request.prompt,
            answer=answer,
            parsed=parsed,
            gold=request.gold,
            correct=parsed == request.gold,
            fixed=request.series.fixed,
        )
        for attack in request.attacks
    ]


def to_table(answers: Iterable[Answer]) -> pa.Table:
    """The answers as a table with the schema `ANSWERS`."""
    return pa.Table.from_pylist([vars(answer) for answer in answers], schema=ANSWERS)


def from_table(table: pa.Table) -> Iterator[Answer]:
    """The answers of a table with the schema `ANSWERS`."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield Answer(**row | {"order": tuple(row["order"]), "fixed": tuple(row["fixed"])})
