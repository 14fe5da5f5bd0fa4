"""Text that people write, such as reasons and notes; and instants as text."""

from datetime import UTC, datetime

REASON_CHARACTERS_MAX = 300


def printable(text: str) -> bool:
    """Whether the text says something, without control characters, which no column and no log wants."""
    return bool(text.strip()) and all(character.isprintable() or character in "\n\t" for character in text)


def rfc3339(instant: datetime) -> str:
    """An instant as every answer shows it: UTC, with milliseconds."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pesos(centavos: int) -> str:
    """₱1,234.50, also below zero."""
    whole, rest = divmod(abs(centavos), 100)
    return f"{'-' if centavos < 0 else ''}₱{whole:,}.{rest:02d}"


def cleaned(text: str, most: int) -> str:
    """The text as every column takes it: without control characters, and no longer than `most`."""
    shown = "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
