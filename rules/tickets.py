"""Tickets: their lines, their number for people, their canonical line (the leaf), and their code."""

import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from rules import crockford
from rules.draws import FIRST_DAY, LAST_DAY, draw_name, parse_draw_name
from rules.games import GAMES

NUMBER_CHARACTERS_MAX = 20
MINUTES_CHARACTERS = 6
SERIAL_CHARACTERS_MIN = 5
# What is left of the longest number after the game's letter, the minutes, two dashes and the check character.
SERIAL_CHARACTERS_MAX = NUMBER_CHARACTERS_MAX - 1 - MINUTES_CHARACTERS - 3
SERIAL_MAX = 32**SERIAL_CHARACTERS_MAX - 1

# 16 base32 characters are exactly 80 bits: nobody guesses one, and a cashier can still type it.
CODE_CHARACTERS = 16
_CODE_BYTES = 10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MINUTE = datetime.combine(FIRST_DAY, datetime.min.time())
_GAME_OF_LETTER = {game.letter: game.code for game in GAMES.values()}

assert len(_GAME_OF_LETTER) == len(GAMES)
assert set(_GAME_OF_LETTER) <= set(crockford.ALPHABET)
assert ((LAST_DAY - FIRST_DAY).days + 1) * 24 * 60 <= 32**MINUTES_CHARACTERS
assert CODE_CHARACTERS * 5 == _CODE_BYTES * 8


class Line(NamedTuple):
    """One bet of a ticket; the stake in centavos."""

    play: str
    number: str
    stake: int


class Ticket(NamedTuple):
    """An accepted ticket, as the journal knows it."""

    draw: str  # the draw's name
    serial: int  # its place in the draw, from 1
    id: str  # the terminal's uuid, canonical: lower case with dashes
    agent_id: int
    accepted_ms: int  # the gate's clock, milliseconds since 1970
    lines: tuple[Line, ...]
    available: int  # the agent's credit after the sale, centavos


def stake(lines: Iterable[Line]) -> int:
    """What the lines cost together, in centavos."""
    return sum([line.stake for line in lines])


# -- The number: for people; it can be guessed and gives no right ------------------------------------------


@lru_cache(maxsize=64)  # a receipt asks twice
def ticket_number(draw: str, serial: int) -> str:
    """The ticket's number, such as 303EMB8-0000H-B: game and draw, serial, check character.

    The game's letter, the minutes from 2020 to the draw's nominal date and time, and the serial, in base32.
    ValueError: no draw can have this name, or the serial is not within 1 to SERIAL_MAX.
    """
    if not 1 <= serial <= SERIAL_MAX:
        raise ValueError(f"a serial is within 1 and {SERIAL_MAX}, not {serial}")
    prefix = _draw_prefix(draw)
    place = crockford.encode(serial, SERIAL_CHARACTERS_MIN)
    return f"{prefix}-{place}-{crockford.check_character(prefix + place)}"


# Both dashes or none: were each optional, a dash mistyped as a character could pass for a longer serial.
_NUMBER = re.compile(
    rf"\A([0-9A-Z])([0-9A-Z]{{{MINUTES_CHARACTERS}}})(-?)"
    rf"([0-9A-Z]{{{SERIAL_CHARACTERS_MIN},{SERIAL_CHARACTERS_MAX}}})\3([0-9A-Z])\Z"
)


def parse_number(text: str) -> tuple[str, int] | None:
    """(draw's name, serial) of a typed number; None if it is not one that `ticket_number` makes.

    Taken in any case, with or without its dashes, O for 0, I or L for 1. One wrong character is noticed, and
    so are any two that were swapped.
    """
    match = _NUMBER.match(crockford.upright(text))
    if match is None:
        return None
    letter, minutes, _, place, check = match.groups()
    body = letter + minutes + place
    if letter not in _GAME_OF_LETTER or "U" in body or crockford.check_character(body) != check:
        return None
    moment = _FIRST_MINUTE + timedelta(minutes=crockford.decode(minutes))
    serial = crockford.decode(place)
    if moment.date() > LAST_DAY or serial < 1 or crockford.encode(serial, SERIAL_CHARACTERS_MIN) != place:
        return None
    return draw_name(_GAME_OF_LETTER[letter], moment.date(), moment.time()), serial


def one_spelling(number: str) -> str:
    """The same text for all ways to type one ticket's number, ours or an older system's."""
    parsed = parse_number(number)
    return ticket_number(*parsed) if parsed is not None else number.upper()


@lru_cache(maxsize=1024)  # a seal numbers all tickets of a draw; old draws may go
def _draw_prefix(draw: str) -> str:
    key = parse_draw_name(draw)
    if key is None:
        raise ValueError(f"not a draw's name: {draw!r}")
    minutes = (datetime.combine(key.date, key.time) - _FIRST_MINUTE) // timedelta(minutes=1)
    return GAMES[key.game].letter + crockford.encode(minutes, MINUTES_CHARACTERS)


# -- The canonical line: what the Merkle tree and the code are made of; docs/proofs.md describes it ---------


@lru_cache(maxsize=1024)  # several tickets of a rush share one, and a receipt asks twice
def instant(ms: int) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    return f"{(_EPOCH + timedelta(milliseconds=ms)).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def leaf_text(ticket: Ticket, voided: bool, annulled: bool = False) -> str:
    """The ticket's leaf in its draw's tree: `number|id|agent|accepted_at|lines|stake|accepted` (`voided`, `annulled`).

    One that was voided before it was annulled stays voided, as its terminal was told. The id stands as the ticket has
    it. ValueError: as `ticket_number`.
    """
    game = ticket.draw.partition("-")[0]
    number, at = ticket_number(ticket.draw, ticket.serial), instant(ticket.accepted_ms)
    lines = ",".join([f"{game} {play} {number} {centavos}" for play, number, centavos in ticket.lines])
    status = "voided" if voided else "annulled" if annulled else "accepted"
    return f"{number}|{ticket.id}|{ticket.agent_id}|{at}|{lines}|{stake(ticket.lines)}|{status}"


def gap_leaf_text(draw: str, first: int, last: int) -> str:
    """The leaf of a jump: these serials, first to last, were never issued."""
    return f"gap|{draw}|{first}|{last}"


def unread_leaf_text(draw: str, serial: int, digest: str) -> str:
    """The leaf of a serial whose record nobody can read, and that was annulled; `digest`: SHA-256 of its bytes, hex."""
    return f"annulled|{draw}|{serial}|{digest}"


# -- The code: the proof that its holder has the ticket -----------------------------------------------------


def ticket_code(key: bytes, ticket: Ticket) -> str:
    """The ticket's code, CODE_CHARACTERS of base32.

    It is made of the accepted ticket itself, so that a receipt proves itself even where every store lost the
    ticket; a later void does not change it. `key` is for this use only.
    """
    digest = hmac.digest(key, leaf_text(ticket, voided=False).encode(), "sha256")
    return crockford.encode(int.from_bytes(digest[:_CODE_BYTES], "big"), CODE_CHARACTERS)


def normalize_code(text: str) -> str:
    """A typed code as it was printed: in capitals, without dashes and spaces, O read as 0, I and L as 1."""
    return crockford.upright(text).replace("-", "").replace(" ", "")


def code_matches(key: bytes, ticket: Ticket, typed: str) -> bool:
    """Whether the typed code is this ticket's, in a time that tells nothing about the right one."""
    return hmac.compare_digest(ticket_code(key, ticket).encode(), normalize_code(typed).encode())


def old_code_digest(key: bytes, number: str, code: str) -> bytes:
    """What is kept of the code of an older system's ticket: compared with what is typed, and not to be read back.

    `number` as it is stored, in capitals; `code` in any case, with or without dashes and spaces. ValueError:
    nothing is left of the code (it is empty, or not ASCII).
    """
    if not (normal := normalize_code(code)):
        raise ValueError("a code has at least one ASCII character beside dashes and spaces")
    return _old_digest(key, number, normal)


def old_code_matches(key: bytes, number: str, digest: bytes, typed: str) -> bool:
    """Whether the typed code is that of the older system's ticket, in a time that tells nothing about the right one."""
    return hmac.compare_digest(digest, _old_digest(key, number, normalize_code(typed)))


def _old_digest(key: bytes, number: str, normal: str) -> bytes:
    """No ticket's leaf begins like this text, so that the key can serve both."""
    return hmac.digest(key, f"old|{number}|{normal}".encode(), "sha256")


def qr_text(number: str, code: str) -> str:
    """The text to print as QR; only characters of QR's alphanumeric mode, which keeps the picture small."""
    return f"DRAWBREAK:{number}:{code}"
