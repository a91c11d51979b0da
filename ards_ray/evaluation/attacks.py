"""Attacks on a question: every order of its options, other symbols, both."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Annotated, Literal

from annotated_types import MinLen, Predicate
from pydantic import Field, Strict

from ards_ray.arrays.seeds import generator
from ards_ray.corpus.options import fixed_places
from ards_ray.corruption.permutation import (
    EXHAUSTIVE_ORDERS,
    SAMPLED_ORDERS,
    Order,
    order_total,
    other_orders,
    rotations,
)
from ards_ray.evaluation.question import Question

Attack = Literal["clean", "permutation", "symbol", "symbol+permutation"]
ATTACKS: tuple[Attack, ...] = ("clean", "permutation", "symbol", "symbol+permutation")
Matching = Literal["strict", "lenient"]


def _told_apart(symbols: tuple[str, ...]) -> bool:
    """Whether there are several symbols, all different, none of them blank."""
    whole = all(symbol and symbol.isprintable() and symbol == symbol.strip() for symbol in symbols)
    return whole and len(set(symbols)) == len(symbols) >= 2


Attacks = Annotated[tuple[Attack, ...], Strict(False), MinLen(1)]
Symbols = Annotated[
    tuple[str, ...],
    Strict(False),
    Predicate(_told_apart),
    Field(description="two or more different symbols"),
]


@dataclass(frozen=True)
class Plan:
    """What is asked about every question, and when an answer counts.

    Attributes:
        attacks: The columns.
        symbols: Symbols of the symbol attacks, in order.
        matching: Name of the matcher.
        seed: Seed of the orders that are drawn.
    """

    attacks: Attacks = ATTACKS
    symbols: Symbols = tuple("QWERTYU")
    matching: Matching = "strict"
    seed: int = 42

    @property
    def columns(self) -> tuple[tuple[tuple[Attack, ...], Sequence[str]], ...]:
        """The columns that have the same symbols, the given order's before the worst case's, and those symbols."""
        pairs: tuple[tuple[tuple[Attack, Attack], Sequence[str]], ...] = (
            (("clean", "permutation"), ascii_uppercase),
            (("symbol", "symbol+permutation"), self.symbols),
        )
        wanted = ((tuple(attack for attack in pair if attack in self.attacks), symbols) for pair, symbols in pairs)
        return tuple((attacks, symbols) for attacks, symbols in wanted if attacks)

    @property
    def symbol_sets(self) -> tuple[Sequence[str], ...]:
        """The sets of symbols that options get."""
        return tuple(symbols for _, symbols in self.columns)


@dataclass(frozen=True)
class Series:
    """Orders that are tried one after the other, under one set of symbols, up to the first wrong answer.

    Attributes:
        given: The columns that the answer in the given order, which is the first, stands under.
        others: The columns that every further answer stands under.
        symbols: Symbol of each place.
        orders: The orders; the given one first.
        fixed: The places whose option stays in every order, since it speaks of others by place.
    """

    given: tuple[Attack, ...]
    others: tuple[Attack, ...]
    symbols: tuple[str, ...]
    orders: tuple[Order, ...]
    fixed: Order = ()


def series_of(question: Question, plan: Plan) -> tuple[Series, ...]:
    """What is asked about a question: a series under letters, one under the other symbols, or both.

    A question with a free answer is asked as it is, where `clean` is wanted.
    """
    if question.answer is not None:
        return (Series(("clean",), (), (), ((),)),) if "clean" in plan.attacks else ()
    orders = orders_of(question, plan.seed)
    count = len(question.options)
    fixed = fixed_places(question.options)
    return tuple(
        Series(attacks, worst, tuple(symbols[:count]), orders if worst else orders[:1], fixed)
        for attacks, symbols in plan.columns
        for worst in [tuple(attack for attack in attacks if attack.endswith("permutation"))]
    )


def orders_of(question: Question, seed: int) -> tuple[Order, ...]:
    """The orders of a question's options: the given one, its rotations, then the others.

    All of them if they are no more than those of five options; above, a sample drawn from content and seed. The
    rotations put the gold answer at every place, and stand before the others so that the answer to each is known where
    they are all right. An option that speaks of others by place stays, and no other passes it.
    """
    count = len(question.options)
    fixed = fixed_places(question.options)
    content = json.dumps([question.context, question.question, question.options]).encode()
    others = other_orders(count, "all", generator(seed, "orders", content), fixed)
    return tuple(dict.fromkeys((*rotations(count, fixed), *others)))


def order_count(options: int, fixed: Sequence[int] = ()) -> int:
    """How many orders `orders_of` gives for so many options, those at fixed places among them."""
    every = order_total(options, fixed)
    return every if is_exhaustive(options, fixed) else min(every, SAMPLED_ORDERS + 1)


def is_exhaustive(options: int, fixed: Sequence[int] = ()) -> bool:
    """Whether `orders_of` gives every order of so many options, those at fixed places among them."""
    return order_total(options, fixed) <= EXHAUSTIVE_ORDERS
