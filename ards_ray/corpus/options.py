"""Options that speak of other options: by letter ("Both A and B"), or by place ("All of the above").

Told by patterns in English and Chinese and by the most common forms of some other languages. An option that names
others by letter makes no sense where they have other letters or stand elsewhere. One that speaks of those above or
below it makes sense as long as the same options stand there.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase

_LONGEST = 200

# Words before letters. None of them is made of others: a list of them can be read in one way only.
_BEFORE = (
    "both|either|neither|only|just|all|of|any|none|not|the|one|two|three|(?:a )?combination|beide|sowohl|weder|"
    "entweder|nur|les|deux|ni|soit|ambas|ambos|tanto|solo|sólo|sia|né|только|både|zowel|cả|baik|既|只有|仅|僅|同时|同時|不是|非|"
    "以上|上述|选|選"
)
_NOUN = "options?|choices?|answers?|statements?|responses?|opciones|opción|réponses?|antworten|选项|選項|答案"
_AFTER = (
    "only|both|together|combined|above|alone|are|is|were|all|the|correct|true|right|wrong|incorrect|false|valid|apply|"
    "not|but|equally|possible|as|well|sind|richtig|falsch|sont|vraies?|correctes?|son|correctas?|verdaderas?|nur|"
    "の|両方|どちらも|모두|둘|다|đều|đúng|[都均皆全同时時两兩二三四者项項个個選选是不对對错錯正确確误誤可以能成立有没沒的]"
)
_SIGN = r"\s*(?:,|、|/|&|\+|;|和|与|與|及|以及|或|或者|跟|也不是|也非|而不是|而非|と|や|와|과|및)\s*"
_WORD = (
    r"and/or|and|or|nor|as well as|along with|plus|but not|through|und|oder|noch|als auch|et|ou|ni|como|y|e|o|и|или|"
    r"og|och|en|ve|i|lub|và|hoặc|lẫn|dan|atau"
)
_JOIN = rf"(?:{_SIGN}(?:(?i:and|or|nor|but not)\s+)?|\s+(?i:{_WORD})\s+(?:(?i:not)\s+)?)"
_TO = r"(?:\s*[-–—~至到]\s*|\s+(?i:to|thru|bis)\s+)"
_EXCEPT = "except|but|other than|besides|sauf|menos|salvo|excepto|exceto|außer|tranne|кроме"
_SAME = "only|just|see|(?:the )?same as|identical to|仅|僅|只有|选|選"
# Single small letters with signs between them are a list of variables or sounds; one letter twice is a name.
_NO_LABELS = re.compile(r"[a-z](?:\s*[,/&+;]\s*[a-z])+|([A-Z])\s*(?:&|/|\+|,|and|or)\s*\1")

_ORDINAL = "(?:first|second|third|fourth|fifth|last|1st|2nd|3rd|4th|5th)"
_SUCH = "(?:both|all|only|just|none|neither|either|one|any|each|of|the|same|as|not|see)"
_RIGHT = "(?:is|are|was|were|correct|true|right|wrong|false|incorrect|only|alone|both|apply|applies|not)"
_RANK = "第[一二三四五1-5](?:项|項|个选项|個選項|个|個)?"
_JUDGED = "[都均皆全同时時是不对對错錯正确確误誤成立]"
_ORDINALS = re.compile(
    # The first two; both of the first two options; 1st and 2nd.
    rf"^(?:{_SUCH}\s+)*(?:(?:first|last)\s+(?:two|three|four)"
    rf"|{_ORDINAL}(?:\s*(?:,|&|and|or|nor)\s*(?:(?:and|or|nor|the)\s+)*{_ORDINAL})+)"
    rf"(?:\s+(?:{_NOUN}|ones?|{_RIGHT}))*$"
    # The first option is correct; same as the second option.
    rf"|^(?:(?:{_SUCH})\s+)*the\s+{_ORDINAL}\s+(?:option|answer)(?:\s+{_RIGHT})*$"
    rf"|\b(?:previous|preceding)\s+(?:one|two|three)$|\b(?:same as|see) above$"
    rf"|^(?:只?有|仅|僅)?[前后後]面?[两兩二三四](?:项|項|者|个选项|個選項){_JUDGED}*$"
    rf"|^(?:只有|仅|僅){_RANK}{_JUDGED}*$|^{_RANK}(?:[和与與及或、,]{_RANK})+{_JUDGED}*$|^{_RANK}{_JUDGED}+$",
    re.IGNORECASE,
)

_SOME = (
    "all|none|both|any|some|two|three|four|most|each|either|neither|one|several|half|combinations?|everything|nothing|"
    "anything|(?:every|any|no) one"
)
_THINGS = "options?|choices?|answers?|statements?|responses?|items?|reasons?|factors?|things|other"
_LISTED = "options?|choices?|answers?|statements?|responses?|reasons?|factors?"
_JUST_ABOVE = r"(?:above(?:[- ]?(?:mentioned|named|listed|stated))?|below|foregoing|aforementioned)(?![-\w])"
# The previous ones are others of their kind: a previous year is not one of the options.
_ABOVE = (
    rf"(?:{_JUST_ABOVE}|(?:preceding|previous|following)"
    r"(?=\W*$|\s+(?:\w+s|is|are|was|were|apply|ones?|two|three|four)\b))"
)
_ARE = r"(?:\s+(?:are|is|were|was|apply|applies)\b.*)?"
_SPATIAL_END = (
    "[都均皆全部俱各所有任何意一两兩二三四几幾个個项項种種者选選答案说說法没沒无無非不是对對错錯正确確误誤可能的]"
)
_PLACES = re.compile(
    # All of the above, none of the answers above, a combination of these.
    rf"\b(?:{_SOME})\s+(?:of|from)\s+(?:(?:the|these|those)\s+)?(?:(?:{_THINGS})\s+)*(?:(?:listed|given|mentioned)\s+)?{_ABOVE}"
    rf"|\b(?:all|none|both|neither|either|two|three|four|most|each|several|combinations?)\s+of\s+(?:these|those)"
    rf"(?:\s+(?:{_THINGS}|are|is|were)\b.*)?$"
    # All the above, none above, everything mentioned above, the above two, the above.
    rf"|^(?:all|none|both|any|either|neither|no|everything|nothing|anything)\s+"
    rf"(?:(?:{_THINGS}|the|that|is|are|listed|given|mentioned|stated|named)\s+)*{_ABOVE}(?:\s+(?:{_LISTED}|ones))?{_ARE}$"
    rf"|^(?:not\s+)?the\s+(?:(?:two|three|four)\s+)?{_JUST_ABOVE}(?:\s+(?:two|three|four|ones?|{_THINGS}))*{_ARE}$"
    rf"|^(?:the\s+)?(?:{_LISTED})\s+(?:(?:listed|given|mentioned)\s+)?above\b"
    rf"|\bnot\s+(?:listed|mentioned|given)\s+above\b"
    # Other than the above.
    rf"|\b(?:other than|apart from|except(?:\s+for)?|besides|different from)\s+"
    rf"(?:(?:all|any|of|the|those|{_THINGS}|listed|given|mentioned)\s+)*{_ABOVE}(?:\s+(?:{_LISTED}|ones?))?$"
    # 以上都是, 上述皆非, 都不是以上选项, 前面都对
    r"|^(?:不是|非|没有|沒有|不属于|不屬於|不在|不包括)?(?:以上|上述|上列|前述|以下|下列)的?"
    r"(?:都|均|皆|全|俱|各|所有|任|没|沒|无|無|非|几|幾|两|兩|三|四|选|選|答|说|說|$)"
    rf"|^(?:不是|非|没有|沒有)?(?:上面|前面|上边|上邊|下面)的?{_SPATIAL_END}*"
    rf"(?:都|均|皆|全部|所有|选项|選項|答案|说法|說法|项|項|者){_SPATIAL_END}*$"
    r"|[都均皆](?:不|非)?(?:是|属于|屬於)?(?:以上|上述)"
    r"|上記|(?:以上|上)の?(?:すべて|全て|どれ|いずれ)|^위의?\s*(?:모두|모든|어느|보기|것|항목)|위에\s*없"
    r"|\b(?:alle|keine?[rs]?|beides?|nichts)\b.*\b(?:oben|obig|vorgenannt|vorstehend|genannt)"
    r"|\b(?:tou(?:te)?s?|aucune?|les deux)\b.*(?:ci-dessus|ci-dessous|précédente?s?$|\bces (?:réponses|propositions))"
    r"|\b(?:tod[oa]s?|ningun[oa]|nenhuma?|amb[oa]s|cualquiera|qualquer)\b.*\b(?:anterior(?:es)?|acima|abaixo)\b"
    r"|\b(?:tutt[eio]|nessun[ao]|entramb[ei])\b.*\bprecedenti\b|(?:выше)?перечисленн|вышеуказанн"
    r"|\b(?:semua|tidak ada|bukan|kedua)\b.*\bdi ?atas(?:\s+(?:benar|betul|salah|adalah|tidak)\b.*)?$"
    r"|\b(?:tất cả|cả|không|mọi)\b.*\b(?:đáp án|phương án|lựa chọn|câu|ý|điều)\b.*\btrên\b|^tất cả (?:ở )?trên\b"
    r"|\bbovenstaande|\byukarıdaki|\bpowyższ|(?:م?ما) سبق|أعلاه|उपरोक्त|उपर्युक्त",
    re.IGNORECASE,
)


def naming_others(options: Sequence[str]) -> str | None:
    """The first option that names others by letter; None if none does.

    Args:
        options: The options of a question, which have the letters A, B, C, … in their order.
    """
    pattern = _letters(min(len(options), len(ascii_uppercase)))
    for option in options:
        text = _plain(option)
        if not _is_name(text) and (pattern.search(text) or _ORDINALS.search(text)):
            return option
    return None


def fixed_places(options: Sequence[str]) -> tuple[int, ...]:
    """The places of the options that speak of others by place: such an option stays, and no other passes it."""
    return tuple(place for place, option in enumerate(options) if _PLACES.search(_unmarked(_plain(option))))


def _plain(option: str) -> str:
    """An option in one line and one form of its characters; nothing for one too long to speak of others alone."""
    text = " ".join(unicodedata.normalize("NFKC", option[:_LONGEST]).split()).rstrip(".。!;,")
    return text if len(option) < _LONGEST else ""


def _unmarked(text: str) -> str:
    """A text without brackets, quotes and the hyphens of all-of-the-above."""
    return re.sub(r"-(?=(?:of|the|above)\b)", " ", re.sub(r"[()\[\]\"“”]", "", text), flags=re.IGNORECASE)


def _is_name(text: str) -> bool:
    """Whether letters in a text are no labels: a, b, c; B&B; C&A."""
    pair = re.fullmatch("([A-Z])&([A-Z])", text)
    return _NO_LABELS.fullmatch(text) is not None or (pair is not None and pair[1] > pair[2])


@lru_cache
def _letters(count: int) -> re.Pattern[str]:
    """What names some of so many options by letter."""
    labels = ascii_uppercase[:count]
    upper = f"A-{labels[-1]}"
    both = upper + upper.lower()
    end = r"(?![^\W_\u0900-\uffff])"
    quoted = rf"['\"“(\[][{both}]['\"”)\]]"
    letter = rf"(?:(?i:{_NOUN})\s*)?(?:[{both}][.)]?|{quoted}){end}"
    # A lone small letter is an article.
    lone = rf"(?:[{upper}]\)?|{quoted}){end}"
    # A to B may be a way; A to C are three options.
    spans = [rf"{first}{_TO}[{labels[index + 2 :]}]{end}" for index, first in enumerate(labels[:-2])]
    span = "|".join((*spans, "(?!)"))
    some = rf"(?:{letter}(?:{_JOIN}{letter})+|(?:{span})(?:{_JOIN}{letter})*)"
    after = rf"(?:[\s,]*(?i:{_AFTER}|{_NOUN}))*+$"
    right = "(?i:correct|true|right|wrong|false|incorrect|正确|正確|对|對|错|錯)"
    return re.compile(
        # Both A and B; A and B only; A和B都对; options A, B and C are correct.
        rf"^(?:(?i:{_BEFORE}|{_NOUN})[\s,:]*)*{some}{after}"
        rf"|^(?i:both|either|neither|options|choices|answers)[\s,:]+{some}"
        rf"|^[{upper}]{{2,}}(?:都|均|皆|全)"
        # Only A; option A; the same as option A; A only; A is correct; 只有A对; A对.
        rf"|^(?i:(?:{_SAME})\s*(?:the\s+)?(?:options?|choices?|answers?|选项|選項|答案)?"
        rf"|options?|choices?|answers?|选项|選項|答案)[\s:]*{lone}{after}"
        rf"|^{lone}\s+(?i:only|alone){after}"
        rf"|^{lone}\s*(?i:is|是)?\s*{right}(?:{after}|\s*(?:[,;:]|[{upper}]{end}|(?i:but|because|since)\b))"
        rf"|^{lone}\s+(?i:is\s+(?:correct|true|wrong|false|incorrect)\s+and)\s+{lone}"
        # All of the above except A; 除A外; A以外都是.
        rf"|^(?i:all|any|every\w*|none|each|both|tod[oa]s?|tous|toutes|alle|tutt[ei]|все)\b(?:.*\s|\s+)(?i:{_EXCEPT})"
        rf"(?i:\s+for)?\s+{letter}(?:{_JOIN}{letter})*$"
        rf"|^除了?\s*{letter}|^{letter}(?:{_JOIN}{letter})*\s*[以之]外"
        # 同A; 与A相同.
        rf"|^(?:同于?|与|與|和|跟|见|見)\s*{letter}(?:{_JOIN}{letter})*\s*(?:相同|一样|一樣|一致|同)?$"
    )
