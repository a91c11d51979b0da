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
    "both|either|neither|only|just|all|of|any|none|not|the|beide|sowohl|weder|entweder|nur|les|deux|ni|soit|ambas|ambos|"
    "tanto|solo|sólo|sia|né|только|既|只有|仅|僅|同时|同時"
)
_NOUN = "options?|choices?|answers?|statements?|responses?|opciones|opción|réponses?|antworten|选项|選項|答案"
_AFTER = (
    "only|both|together|combined|above|alone|are|is|were|all|the|correct|true|right|wrong|incorrect|false|valid|apply|"
    "not|equally|possible|as|well|sind|richtig|falsch|sont|vraies?|correctes?|son|correctas?|verdaderas?|nur|"
    "[都均皆全同时時两兩二三四者项項个個选選是不对對错錯正确確误誤可以能成立有没沒的]"
)
_SIGN = r"\s*(?:,|、|/|&|\+|;|和|与|與|及|以及|或|或者|跟|と|や|와|과|및)\s*"
_WORD = (
    r"and/or|and|or|nor|as well as|plus|but not|through|und|oder|noch|als auch|et|ou|ni|como|y|e|o|и|или|og|och|en|ve"
)
_JOIN = rf"(?:{_SIGN}(?:(?i:and|or|nor|but not)\s+)?|\s+(?i:{_WORD})\s+(?:(?i:not)\s+)?)"

_ORDINALS = re.compile(
    r"\b(?:first|second|third|fourth|last)\s+(?:(?:and|or|two|three|four|second|third|fourth|last)\s+)*"
    r"(?:options?|choices?|answers?)\b"
    r"|\b(?:previous|preceding)\s+(?:one|two|three)\b|\bsame as above$"
    r"|^(?:只?有|仅|僅)?[前后後][两兩二三四](?:项|項|者|个选项|個選項)|第[一二三四五1-5](?:项|項|个选项|個選項)",
    re.IGNORECASE,
)

_SOME = (
    "all|none|both|any|some|two|three|four|most|each|either|neither|one|several|half|combinations?|(?:every|any|no) one"
)
_THINGS = "options?|choices?|answers?|statements?|responses?|items?|reasons?|factors?|things|other"
_ABOVE = (
    r"(?:above(?:[- ](?:mentioned|named|listed|stated))?|below|preceding|previous|foregoing|following|aforementioned)"
    r"(?![-\w])"
)
_PLACES = re.compile(
    # All of the above, none of the answers above, a combination of these.
    rf"\b(?:{_SOME})\s+of\s+(?:(?:the|these|those)\s+)?(?:(?:{_THINGS})\s+)*(?:listed\s+|given\s+)?{_ABOVE}"
    rf"|\b(?:{_SOME})\s+of\s+(?:these|those)(?:\s+(?:{_THINGS}|are|is|were)\b.*)?$"
    # All the above, none above.
    rf"|^(?:all|none|both|any|either|neither)\s+(?:the\s+)?(?:(?:{_THINGS})\s+)?{_ABOVE}(?:\s+(?:are|is|apply)\b.*)?$"
    rf"|^(?:the\s+)?(?:{_THINGS})\s+above\b|\bnot\s+(?:listed|mentioned|given)\s+above\b"
    # 以上都是, 上述皆非, 都不是以上选项
    r"|^(?:不是|非|没有|沒有|不属于|不屬於)?(?:以上|上述|上列|上面|前述|以下|下列)的?"
    r"(?:都|均|皆|全|俱|各|所有|任|没|沒|无|無|非|几|幾|两|兩|三|四|选|選|答|说|說|$)"
    r"|[都均皆](?:不|非)?(?:是|属于|屬於)?(?:以上|上述)"
    r"|上記|(?:以上|上)の?(?:すべて|全て|どれ|いずれ)|^위의?\s*(?:모두|모든|어느|보기|것|항목)|위에\s*없"
    r"|\b(?:alle|keine?[rs]?|beides?|nichts)\b.*\b(?:oben|obig|vorgenannt|vorstehend|genannt)"
    r"|\b(?:tou(?:te)?s?|aucune?|les deux)\b.*(?:ci-dessus|ci-dessous|précédente?s?$|\bces (?:réponses|propositions))"
    r"|\b(?:tod[oa]s?|ningun[oa]|nenhuma?|amb[oa]s|cualquiera|qualquer)\b.*\b(?:anterior(?:es)?|acima|abaixo)\b"
    r"|\b(?:tutt[eio]|nessun[ao]|entramb[ei])\b.*\bprecedenti\b|(?:выше)?перечисленн|вышеуказанн"
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
        if pattern.search(text) or _ORDINALS.search(text):
            return option
    return None


def fixed_places(options: Sequence[str]) -> tuple[int, ...]:
    """The places of the options that speak of others by place: such an option stays, and no other passes it."""
    return tuple(place for place, option in enumerate(options) if _PLACES.search(_plain(option)))


def _plain(option: str) -> str:
    """An option in one line and one form of its characters; nothing for one too long to speak of others alone."""
    text = " ".join(unicodedata.normalize("NFKC", option[:_LONGEST]).split()).rstrip(".。!;,")
    return text if len(option) < _LONGEST else ""


@lru_cache
def _letters(count: int) -> re.Pattern[str]:
    """What names some of so many options by letter."""
    last = ascii_uppercase[count - 1]
    end = r"(?![^\W_\u0900-\uffff])"
    sign = rf"(?:[A-{last}]\.?|[a-{last.lower()}]|['\"“(\[][A-{last}a-{last.lower()}]['\"”)\]]){end}"
    letter = rf"(?:(?i:{_NOUN})\s*)?{sign}"
    # A lone small letter is an article.
    lone = rf"(?:[A-{last}]|['\"“(\[][A-{last}a-{last.lower()}]['\"”)\]]){end}"
    some = rf"{letter}(?:{_JOIN}{letter})+"
    after = rf"(?:[\s,]*(?i:{_AFTER}|{_NOUN}))*$"
    return re.compile(
        # Both A and B; A and B only; A和B都对; options A, B and C are correct.
        rf"^(?:(?i:{_BEFORE}|{_NOUN})\s*)*{some}{after}"
        rf"|^(?i:both|either|neither|options|choices|answers)\s+{some}"
        rf"|^[A-{last}]{{2,}}(?:都|均|皆|全)"
        # Only A; option A; same as A; A only; A is correct; 只有A对; A对.
        rf"|^(?i:only|just|same as|options?|choices?|answers?|仅|僅|只有|选项|選項|答案)\s*{lone}{after}"
        rf"|^{lone}\s+(?i:only|alone){after}"
        rf"|^{lone}\s*(?i:is|是)?\s*(?i:correct|true|right|wrong|false|正确|正確|对|對|错|錯)"
        # All of the above except A; 除A外.
        rf"|^(?i:all|any|every\w*|none|each|both)\b.*\s(?i:except|but|other than|besides)(?i:\s+for)?\s+"
        rf"{letter}(?:{_JOIN}{letter})*$"
        rf"|^除了?\s*{letter}"
    )
