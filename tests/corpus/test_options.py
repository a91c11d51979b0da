"""Options that speak of others: told from those that only have such words, in what people really write."""

import pytest

from ards_ray.corpus.options import fixed_places, naming_others

PLAIN = ("Whale", "Bat", "Trout")


@pytest.mark.parametrize(
    "option",
    [
        *("Both A and B", "A and B only", "A and C", "A, B and C", "A, B, and C", "Neither A nor B", "Either A or B"),
        *("A or B", "A & B", "A/B", "(A) and (B)", "Both (a) and (b)", "both a and b", "A and B.", "A. and B."),
        *("A and B are correct", "Options A and B", "Both options A and B are true", "A as well as B", "A but not B"),
        *("Only A", "A only", "Option B", "Same as A", "A is correct", "All of A, B and C", "A and B, but not C"),
        *("All except B", "All of the above except A", "Both A and B are needed to explain it", "Ａ and Ｂ"),
        *(
            "A、B",
            "A和B",
            "A和B都对",
            "A与B都不对",
            "选项A和B",
            "AB都对",
            "（A）和（B）",
            "A、B、C都是",
            "只有A",
            "除A外都对",
        ),
        *(
            "A und B",
            "Sowohl A als auch B",
            "A et B",
            "Ni A ni B",
            "A y B",
            "Tanto A como B",
            "A ou B",
            "A и B",
            "AとB",
        ),
        *("The first two options", "Both the first and second options", "前两项都对", "第一项和第二项"),
    ],
)
def test_options_that_name_others(option: str) -> None:
    """Under other letters, or in another order, they say something else, and often that the right answer is wrong."""
    assert naming_others((*PLAIN, option)) == option


@pytest.mark.parametrize(
    "option",
    [
        *("All of the above", "None of the above", "none of the above.", "Both of the above", "Any of the above"),
        *("All of the above are correct", "None of the answers above", "All of the above-mentioned", "All the above"),
        *("None above", "Two of the above", "A combination of the above", "None of these", "All of these"),
        *("None of the choices listed above", "All of the following", "Not listed above", "NONE OF THE ABOVE"),
        *(
            "以上都是",
            "以上都不对",
            "以上皆非",
            "以上选项都正确",
            "以上全部",
            "上述都不是",
            "都不是以上",
            "以上都不是。",
        ),
        *("Todas las anteriores", "Ninguna de las anteriores", "Aucune des réponses ci-dessus", "Alle oben genannten"),
        *("Keine der obigen", "Nenhuma das anteriores", "Tutte le precedenti", "Все вышеперечисленное", "上記のすべて"),
    ],
)
def test_options_that_speak_of_those_above(option: str) -> None:
    """In another place they speak of other options: of none, where they come first."""
    assert fixed_places((*PLAIN, option)) == (3,)
    assert fixed_places((PLAIN[0], option, *PLAIN[1:])) == (1,)
    assert naming_others((*PLAIN, option)) is None


@pytest.mark.parametrize(
    "option",
    [
        *(
            "Vitamin A",
            "A cat",
            "Team A",
            "A",
            "plan B",
            "Hepatitis B and C",
            "AB",
            "A+",
            "B-flat",
            "C major",
            "point A",
        ),
        *("a cat and a dog", "A bat or a cat", "Type A and Type B", "A and E", "X and Y", "i and ii", "I and II"),
        *("1 and 2", "Both", "Neither", "None", "Both are caused by heating.", "neither; their masses are the same"),
        *("Both Tara and her father grow sunflowers.", "None of the other options", "All cats but Bob", "All of them"),
        *("above average", "The above-ground part", "All above average height", "above", "The picture above is old"),
        *("30岁以上", "以上海为例", "A型和B型", "两者都是哺乳动物", "A" * 500 + " and B", "A to B"),
    ],
)
def test_options_that_speak_of_no_others(option: str) -> None:
    """Each would be a question without its attack, or not evaluated at all."""
    assert naming_others((*PLAIN, option)) is None
    assert fixed_places((*PLAIN, option)) == ()


def test_letters_are_those_of_the_options() -> None:
    """`C and D` in a question with two options are no options."""
    assert naming_others(("A and B", "C and D")) == "A and B"
    assert naming_others(("C and D", "D and C")) is None
    assert naming_others((*PLAIN, "x", "D or E")) == "D or E"
