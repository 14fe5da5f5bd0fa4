"""Text that people write, such as reasons and notes."""

REASON_CHARACTERS_MAX = 300


def printable(text: str) -> bool:
    """Whether the text says something, without control characters, which no column and no log wants."""
    return bool(text.strip()) and all(character.isprintable() or character in "\n\t" for character in text)
