"""Text as JSON spells it."""


def is_unicode(text: str) -> bool:
    """Whether the text is free of half surrogate pairs, which JSON can spell and Arrow cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
