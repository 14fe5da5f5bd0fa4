"""Crockford's base32, and the check character of ticket numbers.

The alphabet leaves out I, L, O and U, so that what people read aloud or type comes back as it was printed.
"""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
VALUES = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]  # two at a time: every receipt is numbered

_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})

# The field of 32 elements: polynomials over GF(2) modulo x^5 + x^2 + 1. That one is primitive: the powers of
# alpha = x run through all 31 elements other than 0 before they repeat.
_MODULUS = 0b100101
_ORDER = 31


def encode(value: int, width: int) -> str:
    """Write a number of 0 or more with at least `width` characters, zeros in front."""
    if value < 0:
        raise ValueError("only numbers from 0 can be written")
    text = ""
    while value:
        value, pair = divmod(value, len(_PAIRS))
        text = _PAIRS[pair] + text
    return text.lstrip("0").rjust(width, "0")


def decode(text: str) -> int:
    """Read what `encode` wrote. KeyError: a character outside the alphabet."""
    value = 0
    for character in text:
        value = value * 32 + VALUES[character]
    return value


def upright(text: str) -> str:
    """Typed text in capitals, with O read as 0, and I and L as 1. Text beyond ASCII becomes empty."""
    # str.upper() would turn some letters of other scripts into ours.
    return text.upper().translate(_LOOKALIKES) if text.isascii() else ""


def check_character(text: str) -> str:
    """The character to put after the text: the sum of alpha^i times the i-th character, i from 1.

    In the whole, the check character weighs alpha^0. As all weights differ up to 31 characters, one changed
    character always changes the sum, and so does the swap of any two, neighbours or not.
    ValueError: more than 30 characters. KeyError: a character outside the alphabet.
    """
    if len(text) >= _ORDER:
        raise ValueError("the check character covers at most 30 others")
    total = 0
    for position, character in enumerate(text):
        total ^= _PRODUCTS[position][character]
    return ALPHABET[total]


def _times_alpha(value: int) -> int:
    doubled = value << 1
    return doubled ^ _MODULUS if doubled & 0b100000 else doubled


def _products() -> list[dict[str, int]]:
    """For each position, what every character adds to the sum."""
    rows = []
    row = dict(VALUES)
    for _ in range(_ORDER - 1):
        row = {character: _times_alpha(value) for character, value in row.items()}
        rows.append(row)
    return rows


_PRODUCTS = _products()
