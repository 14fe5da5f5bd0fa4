"""Text that people write, such as reasons and notes."""

REASON_CHARACTERS_MAX = 300


def printable(text: str) -> bool:
    """Whether the text says something, without control characters, which no column and no log wants."""
    return bool(text.strip()) and all(character.isprintable() or character in "\n\t" for character in text)


def pesos(centavos: int) -> str:
    """₱1,234.50, also below zero."""
    whole, rest = divmod(abs(centavos), 100)
    return f"{'-' if centavos < 0 else ''}₱{whole:,}.{rest:02d}"


def cleaned(text: str, most: int) -> str:
    """The text as every column takes it: without control characters, and no longer than `most`."""
    shown = "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
