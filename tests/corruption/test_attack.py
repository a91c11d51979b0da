"""What is done to a conversation: every question its own attack, and nothing that is not asked for."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.config import AttackSettings
from ards_ray.corpus.choice import parse_choice
from ards_ray.corpus.conversation import Conversation, Round
from ards_ray.corruption.attack import Corruption, corrupt

SYMBOLS = "QWERTYU"
INSTRUCTION = "Answer with the option's letter from the given choices directly."
TALK = Round("And why is that so?", "Because A. is not B.")


def question(*options: str, gold: int = 0, stem: str = "Which?") -> Round:
    lines = [f"{letter}. {text}" for letter, text in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", options, strict=False)]
    return Round("\n".join([stem, *lines, INSTRUCTION]), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[gold])


def conversation(*rounds: Round, format: str = "choice", image: str | None = None, row: int = 0) -> Conversation:
    return Conversation(row, format, (image,) if image else (), rounds)


def options_of(round: Round) -> dict[str, str]:
    """Texts by symbol; options stand between the stem's line and the instruction's."""
    return dict(line.split(". ", 1) for line in round.question.split("\n")[1:-1])


def corrupted(talk: Conversation, attacks: AttackSettings = AttackSettings(), seed: int = 42) -> Corruption:  # noqa: B008
    corruption = corrupt(talk, attacks, seed)
    assert corruption is not None
    return corruption


@pytest.fixture(scope="module")
def reference(conformance: Path) -> list[dict[str, Any]]:
    questions: list[dict[str, Any]] = json.loads((conformance / "attacks.json").read_text())
    assert len(questions) == 20
    return questions


def pairs(rounds: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(round["question"], round["answer"]) for round in rounds]


def test_choices_are_attacked_as_by_the_reference(reference: list[dict[str, Any]]) -> None:
    """Other texts are other attacks: the published numbers would not be comparable."""
    for entry in reference:
        choice = parse_choice(entry["question"], entry["answer"])
        assert choice is not None
        assert choice.options == tuple(entry["options"])
        renamed = choice.with_symbols(SYMBOLS)
        assert (renamed.question, renamed.answer) == (entry["symbol"]["question"], entry["symbol"]["answer"])
        orders = list(permutations(range(len(choice.options))))
        permuted = [choice.permuted(order) for order in orders]
        assert [(item.question, item.answer) for item in permuted] == pairs(entry["permuted"])
        both = [item.with_symbols(SYMBOLS) for item in permuted]
        assert [(item.question, item.answer) for item in both] == pairs(entry["symbol_permuted"])


@pytest.mark.parametrize(
    ("attacks", "key", "name"),
    [
        (AttackSettings(permutations="all"), "symbol_permuted", "symbol+permutation"),
        (AttackSettings(permutations="all", symbol=False), "permuted", "permutation"),
        (AttackSettings(permutations="all", permutation=False), "symbol", "symbol"),
    ],
)
def test_conversations_are_attacked_as_by_the_reference(
    reference: list[dict[str, Any]], attacks: AttackSettings, key: str, name: str
) -> None:
    """The same through the function that the job calls: all orders in their order but the given one, the first."""
    for entry in reference:
        corruption = corrupted(conversation(Round(entry["question"], entry["answer"])), attacks)
        assert corruption.attack == name
        found = [(round.question, round.answer) for (round,) in corruption.versions]
        assert found == (pairs(entry[key])[1:] if key != "symbol" else pairs([entry[key]]))


texts = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=8)


@st.composite
def multiple_choice(draw: st.DrawFn) -> Round:
    options = draw(st.lists(st.one_of(texts, st.sampled_from("ABQ")), min_size=2, max_size=9, unique=True))
    return question(*options, gold=draw(st.integers(0, len(options) - 1)), stem=draw(texts))


@given(
    st.lists(st.one_of(multiple_choice(), st.just(TALK)), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.one_of(st.integers(1, 6), st.just("all")),
    st.integers(0, 9),
)
def test_rules_of_a_conversation(
    rounds: list[Round], symbol: bool, permutation: bool, wanted: int | Literal["all"], seed: int
) -> None:
    """Every question is attacked, none loses an option or its right answer, and all else stays as it is."""
    attacks = AttackSettings(symbol=symbol, permutation=permutation, permutations=wanted)
    corruption = corrupt(conversation(*rounds), attacks, seed)
    sizes = [len(options_of(round)) for round in rounds if round is not TALK]
    renamed = symbol and any(size <= len(SYMBOLS) for size in sizes)
    names = [name for name, used in (("symbol", renamed), ("permutation", permutation and bool(sizes))) if used]
    if not names:
        assert corruption is None
        return
    assert corruption is not None
    assert corruption.attack == "+".join(names)
    if wanted != "all" or not permutation:
        assert len(corruption.versions) <= (wanted if permutation and wanted != "all" else 1)
    for version in corruption.versions:
        assert len(version) == len(rounds)
        for before, after in zip(rounds, version, strict=True):
            if before is TALK:
                assert after == before
                continue
            old, new = options_of(before), options_of(after)
            expected = SYMBOLS if symbol and len(old) <= len(SYMBOLS) else "ABCDEFGHI"
            assert "".join(new) == expected[: len(old)]
            assert sorted(new.values()) == sorted(old.values())
            assert new[after.answer] == old[before.answer]
            assert (list(new.values()) != list(old.values())) is permutation
            assert after.question.split("\n")[0] == before.question.split("\n")[0]
            assert after.question.split("\n")[-1] == INSTRUCTION


def test_rounds_have_orders_of_their_own() -> None:
    """With one order for all, an answer that moved to B in one round has moved to B in each."""
    rounds = [question("one", "two", "three", "four") for _ in range(8)]
    (version,) = corrupted(conversation(*rounds)).versions
    assert len({tuple(options_of(round).values()) for round in version}) > 1


def test_more_options_than_symbols() -> None:
    """Eight options cannot all be renamed with seven symbols: renaming some would leave two kinds of symbol."""
    many = question(*"stuvwxyz", gold=7)
    corruption = corrupted(conversation(many))
    assert corruption.attack == "permutation"
    assert "".join(options_of(corruption.versions[0][0])) == "ABCDEFGH"
    assert corrupt(conversation(many), AttackSettings(permutation=False), 42) is None
    seven = corrupted(conversation(question(*"stuvwxy"), many))
    assert seven.attack == "symbol+permutation"
    assert "".join(options_of(seven.versions[0][0])) == SYMBOLS
    assert "".join(options_of(seven.versions[0][1])) == "ABCDEFGH"


def test_duplicate_options_keep_their_answer() -> None:
    """The reference, which edits rendered text, loses track of which of two equal texts was right."""
    (version,) = corrupted(conversation(question("same", "same", "other", gold=2))).versions
    assert options_of(version[0])[version[0].answer] == "other"


def test_number_of_orders() -> None:
    """`permutations: k` is what the user pays for in passes of the model."""
    four, two = question("one", "two", "three", "four"), question("yes", "no")
    assert len(corrupted(conversation(four), AttackSettings(permutations=5)).versions) == 5
    assert len(corrupted(conversation(four), AttackSettings(permutations=50)).versions) == 23
    assert len(corrupted(conversation(two), AttackSettings(permutations=5)).versions) == 1
    several = corrupted(conversation(four, two), AttackSettings(permutations=5)).versions
    assert len(several) == 5
    assert {tuple(options_of(version[1]).values()) for version in several} == {("no", "yes")}
    six = corrupted(conversation(question(*"uvwxyz")), AttackSettings(permutations="all"))
    assert len({version[0].question for version in six.versions}) == len(six.versions) == 120


def test_choice_that_does_not_parse() -> None:
    """Nothing else can be done to such a question, but its image can still be noised."""
    strange = Round(f"Which? (a) one (b) two\n{INSTRUCTION}", "a")
    shown = conversation(strange, image="a.png")
    assert corrupted(shown) == Corruption("noise", ((strange,),))
    assert corrupt(conversation(strange), AttackSettings(), 42) is None
    assert corrupt(shown, AttackSettings(noise=False), 42) is None


def test_options_that_name_others_by_letter() -> None:
    """Permuted or renamed, `Both A and B` is another answer: the loss would rise without any weakness of the model."""
    named = question("Whale", "Bat", "Trout", "Both A and B", gold=3)
    shown = conversation(named, image="a.png")
    assert corrupted(shown) == Corruption("noise", ((named,),))
    assert corrupt(shown, AttackSettings(noise=False), 42) is None
    assert corrupt(conversation(named), AttackSettings(), 42) is None
    chinese = question("甲", "乙", "A和B都对", "以上都不对", gold=2)
    assert corrupt(conversation(chinese), AttackSettings(), 42) is None
    # Other rounds are attacked all the same.
    (version,) = corrupted(conversation(named, question("one", "two"), image="a.png")).versions
    assert version[0] == named
    assert set(options_of(version[1])) == {"Q", "W"}


def test_options_that_speak_of_others_by_place() -> None:
    """`None of the above` must stay below those that it speaks of; its symbol may be another."""
    four = question("Sugar", "Salt", "Sand", "None of the above", gold=1)
    found = corrupted(conversation(four), AttackSettings(permutations="all"))
    assert found.attack == "symbol+permutation"
    orders = [tuple(options_of(version[0]).values()) for version in found.versions]
    assert len(set(orders)) == len(orders) == 5
    assert all(order[3] == "None of the above" for order in orders)
    assert all(options_of(version[0])[version[0].answer] == "Salt" for version in found.versions)
    middle = question("Sugar", "All of the above", "Sand", "Rice")
    found = corrupted(conversation(middle), AttackSettings(permutations="all", symbol=False))
    assert [tuple(options_of(version[0]).values()) for version in found.versions] == [
        ("Sugar", "All of the above", "Rice", "Sand")
    ]


def test_options_of_which_none_can_move() -> None:
    """The given order again is no attack: what is left is the symbols, else the picture."""
    stuck = question("It is", "None of the above")
    shown, permute = conversation(stuck, image="a.png"), AttackSettings(symbol=False)
    found = corrupted(shown)
    assert found.attack == "symbol"
    assert [options_of(version[0]) for version in found.versions] == [{"Q": "It is", "W": "None of the above"}]
    assert corrupted(shown, permute) == Corruption("noise", ((stuck,),))
    assert corrupt(conversation(stuck), permute, 42) is None
    (version,) = corrupted(conversation(stuck, question("one", "two")), permute).versions
    assert version[0] == stuck
    assert tuple(options_of(version[1]).values()) == ("two", "one")


def test_multiple_choice_with_an_image_keeps_the_image() -> None:
    """Its attack is on the text: noise on top would measure something else."""
    shown = conversation(question("one", "two"), image="a.png")
    assert corrupted(shown).attack == "symbol+permutation"
    assert corrupt(shown, AttackSettings(symbol=False, permutation=False), 42) is None


@pytest.mark.parametrize("format", ["phrase", "caption", "region", "box", "image"])
def test_other_formats_are_noised(format: str) -> None:
    """Also where a later round happens to be multiple choice: the format is the first question's."""
    rounds = (Round("<image>\nWhat?", "A cat"), question("one", "two"))
    shown = Conversation(0, format, ("a.png",), rounds)
    assert corrupted(shown) == Corruption("noise", (rounds,))
    assert corrupt(shown, AttackSettings(noise=False), 42) is None
    assert corrupt(replace(shown, images=()), AttackSettings(), 42) is None


def test_text_is_never_attacked() -> None:
    """Text conversations are no part of a worst case."""
    everything = AttackSettings(permutations="all")
    assert corrupt(conversation(Round("Hi", "Hello"), question("one", "two"), format="text"), everything, 42) is None


def test_given_symbols_are_used() -> None:
    """Whoever asks for other symbols gets them."""
    (version,) = corrupted(conversation(question("one", "two")), AttackSettings(symbols="xyz")).versions
    assert set(options_of(version[0])) == {"x", "y"}


def test_content_and_seed_alone_decide() -> None:
    """Place in the corpus, image and what was attacked before must not matter, or a restart changes the mixture."""
    rounds = [question(*"stuvwx", stem=f"Which {number}?") for number in range(20)]
    alone = [corrupted(conversation(round)) for round in rounds]
    moved = [corrupted(conversation(round, row=7, image="a.png")) for round in reversed(rounds)]
    assert alone == moved[::-1]
    assert len({tuple(options_of(item.versions[0][0]).values()) for item in alone}) > 10
    assert [corrupted(conversation(round), seed=43) for round in rounds] != alone


def test_another_process_attacks_alike() -> None:
    """Workers are processes: a hash that is salted for each would give each worker its own attack."""
    script = (
        "from ards_ray.config import AttackSettings\n"
        "from ards_ray.corpus.conversation import Conversation, Round\n"
        "from ards_ray.corruption.attack import corrupt\n"
        f"talk = Conversation(0, 'choice', (), ({question(*'stuvwx')!r},))\n"
        "print(repr(corrupt(talk, AttackSettings(permutations=3), 42)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True
    )
    assert answer.stdout.strip() == repr(corrupted(conversation(question(*"stuvwx")), AttackSettings(permutations=3)))
