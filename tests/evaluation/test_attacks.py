"""Attacks: which orders are asked, under which symbols, and which columns an answer stands under."""

from itertools import permutations
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import (
    Attack,
    Plan,
    is_exhaustive,
    order_count,
    orders_of,
    rotations,
    series_of,
)
from ards_ray.evaluation.question import Question
from ards_ray.validation import check_settings


def question(options: int, text: str = "Which?", id: str = "q") -> Question:
    return Question(id, (), "", text, tuple(f"option {number}" for number in range(options)), 0)


@pytest.mark.parametrize("options", [2, 3, 4, 5])
def test_every_order_up_to_five_options(options: int) -> None:
    """An order that is not asked may be the one that fails: the worst case would be too good."""
    orders = orders_of(question(options), seed=0)
    assert len(orders) == factorial(options) == order_count(options)
    assert set(orders) == set(permutations(range(options)))
    assert is_exhaustive(options)


@given(st.integers(6, 26), st.integers(0, 2**31 - 1))
def test_a_sample_above_five_options(options: int, seed: int) -> None:
    """Nine options have 362,880 orders. The sample must hold what a model with a favourite letter fails."""
    orders = orders_of(question(options), seed)
    assert len(set(orders)) == len(orders) == order_count(options)
    assert all(sorted(order) == list(range(options)) for order in orders)
    for gold in range(options):
        assert {order.index(gold) for order in orders} == set(range(options))
    assert not is_exhaustive(options)
    assert orders == orders_of(question(options), seed)


@given(st.integers(2, 12))
def test_the_given_order_is_first_and_rotations_are_next(options: int) -> None:
    """Clean is the first answer; and without all rotations in front CircularEval could not be told after a stop."""
    orders = orders_of(question(options), seed=1)
    assert orders[0] == tuple(range(options))
    assert orders[:options] == tuple(
        tuple((place + shift) % options for place in range(options)) for shift in range(options)
    )
    assert rotations(options) == orders[:options]


def test_the_sample_depends_on_content_and_seed_alone() -> None:
    """A question must get the same orders whatever its file, id or place, or resuming changes the result."""
    sample = orders_of(question(7), seed=0)
    assert sample == orders_of(question(7, id="other"), seed=0)
    assert sample != orders_of(question(7), seed=1)
    assert sample != orders_of(question(7, text="Which one?"), seed=0)


def test_orders_that_keep_sense() -> None:
    """`All of the above` anywhere else speaks of other options; the orders of those above are all asked."""
    above = Question("q", (), "", "Which?", ("x", "y", "z", "All of the above"), 1)
    assert orders_of(above, seed=0) == (
        *((0, 1, 2, 3), (1, 2, 0, 3), (2, 0, 1, 3)),
        *((0, 2, 1, 3), (1, 0, 2, 3), (2, 1, 0, 3)),
    )
    assert order_count(4, (3,)) == 6
    assert [series.fixed for series in series_of(above, Plan())] == [(3,), (3,)]
    (stuck,) = orders_of(Question("q", (), "", "Which?", ("x", "以上都不是"), 1), seed=0)
    assert stuck == (0, 1)
    assert is_exhaustive(6, (5,))
    assert not is_exhaustive(7, (6,))


def test_series() -> None:
    """The given order is asked once for two columns: twice would cost a request, under one column miss an answer."""
    letters, others = series_of(question(3), Plan())
    assert (letters.given, letters.others) == (("clean", "permutation"), ("permutation",))
    assert (others.given, others.others) == (("symbol", "symbol+permutation"), ("symbol+permutation",))
    assert letters.symbols == ("A", "B", "C")
    assert others.symbols == ("Q", "W", "E")
    assert letters.orders == others.orders == orders_of(question(3), Plan().seed)


@pytest.mark.parametrize(
    ("attacks", "expected"),
    [
        (("clean",), [(("clean",), (), 1)]),
        (("permutation",), [(("permutation",), ("permutation",), 6)]),
        (("symbol",), [(("symbol",), (), 1)]),
        (("symbol+permutation", "clean"), [(("clean",), (), 1), (("symbol+permutation",), ("symbol+permutation",), 6)]),
    ],
)
def test_only_what_is_wanted_is_asked(attacks: tuple[Attack, ...], expected: list[tuple[object, object, int]]) -> None:
    """Who wants Clean alone does not pay for all orders."""
    series = series_of(question(3), Plan(attacks=attacks))
    assert [(one.given, one.others, len(one.orders)) for one in series] == expected


def test_free_answers_are_not_attacked() -> None:
    """GQA-OOD has no options: there is nothing to permute, and no symbol."""
    free = Question("q", (), "", "What colour?", (), None, "red")
    (series,) = series_of(free, Plan())
    assert (series.given, series.others, series.orders) == (("clean",), (), ((),))
    assert series_of(free, Plan(attacks=("permutation",))) == ()


def test_symbols_of_several_characters() -> None:
    """Symbols such as i, ii, iii are a known attack too."""
    (series,) = series_of(question(3), Plan(attacks=("symbol",), symbols=("i", "ii", "iii", "iv")))
    assert series.symbols == ("i", "ii", "iii")


def test_plans_that_will_not_do() -> None:
    """Two options under one symbol cannot be told apart: refused before a model is loaded."""
    check_settings(Plan())
    assert Plan().symbol_sets == ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", tuple("QWERTYU"))
    assert Plan(attacks=("symbol",)).symbol_sets == (tuple("QWERTYU"),)
    for symbols in (("Q",), ("Q", "Q"), ("Q", " "), ("Q", ""), ("Q", "\x1b")):
        with pytest.raises(SettingsError, match=r"^symbols: must be two or more different symbols, got "):
            check_settings(Plan(symbols=symbols))
    for attacks in ((), ("noise",)):
        with pytest.raises(SettingsError, match=r"^attacks: must be a list of clean, .* or symbol\+permutation"):
            check_settings(Plan(attacks=attacks))  # type: ignore[arg-type]
