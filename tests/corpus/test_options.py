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
        *("A) and B)", "Both A) and B)", "Both, A and B", "One of A and B", "Two of A, B, C", "A-C", "A to C"),
        *("Options A-C", "A–C", "all of A to D", "A至C都对", "A combination of A and B", "See A", "Answer: A"),
        *("the same as option B", "Same as B", "A&B", "Todas menos A", "A is correct but B is not", "A is true, B not"),
        *("The first two", "both of the first two", "The first and second", "1st and 2nd", "The last three are right"),
        *("Only the first option", "The second option is correct", "第一项正确", "只有第二项", "A对B错"),
        *(
            "既不是A也不是B",
            "既非A也非B",
            "以上A和B",
            "选A和B",
            "A以外都是",
            "A、B之外",
            "同A",
            "与A相同",
            "和选项B一样",
        ),
        *("AとBの両方", "A와 B 모두", "Cả A và B", "A lẫn B", "Baik A dan B", "A i B", "A dan B"),
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
        *("Everything above", "nothing above", "Nothing of the above", "All mentioned above", "both mentioned above"),
        *(
            "the above two",
            "The two above",
            "The above",
            "None (of the above)",
            "all-of-the-above",
            '"All of the above"',
        ),
        *(
            "Other than the above",
            "None from the above",
            "All options listed above",
            "The answers above",
            "None of the previous answers",
        ),
        *("All of the above reactions", "None of the preceding", "Anything except the above", "None-of-the-above"),
        *(
            "前面都对",
            "上面都不对",
            "不在以上选项中",
            "前面的选项都对",
            "以上两种",
            "Semua di atas",
            "Semua jawaban di atas benar",
        ),
        *("Tất cả các đáp án trên", "Cả ba ý trên", "Tidak ada jawaban di atas"),
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
        *("C is right of the door", "A is right of B", "B is wrong way", "A is right and B is left", "from A to C"),
        *("the first option on the menu", "first choice", "last choice", "The first two people", "The first", "第一项"),
        *("a, b, c", "a/b", "B&B", "C&A", "B and B", "A-B", "A-D converter", "甲和乙", "See A cat", "一同A"),
        *(
            "some of these",
            "One of these",
            "any of these",
            "things above",
            "half of the previous year",
            "the above car",
        ),
        *("上面两个人", "上面没有人", "上面", "前面都有人", "上面都是水", "all of the previous night", "The sky above"),
        *("Tidak ada di atas meja", "Không có gì trên bàn", "Nothing above the table"),
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
