"""The three files of an older system: people, their balances, and winners that were not paid yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from actions.csv_rows import Column, Table, read_table
from actions.users import USERNAME
from rules.draws import MANILA
from rules.rights import Role
from rules.tickets import normalize_code, parse_number

COMMISSION_BP_MAX = 10_000
# Four characters is what a cashier's slip has at the least; less can be guessed at a counter.
CODE_CHARACTERS_MIN = 4
CODE_CHARACTERS_MAX = 64
# A login pays for a hash's cost, doubled by each step: 14 takes about a second.
BCRYPT_COST_MAX = 14

# Exactly two decimals: 12345 could be pesos or centavos. Ten digits of pesos are the most that the gate counts with.
_PESOS = re.compile(r"\A(-?)([0-9]{1,10})\.([0-9]{2})\Z")
_WHOLE = re.compile(r"\A[0-9]{1,5}\Z")
_DAY = re.compile(r"\A2[0-9]{3}-[0-9]{2}-[0-9]{2}\Z")
_INSTANT = re.compile(r"\A2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})\Z")
# The salt's last character carries 2 bits and the digest's 4: other characters there match no password.
_BCRYPT = re.compile(r"\A\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]\Z")
_OLD_NUMBER = re.compile(r"\A[A-Z0-9-]{1,20}\Z")
_PHONE = re.compile(r"\A\+?[0-9 ()./-]{3,40}\Z")
# A spreadsheet that opens a report would run what begins like this.
_FORMULA_BEGINNINGS = ("=", "+", "-", "@")


class OldFiles(NamedTuple):
    """The files as they were read; None: not given."""

    users: Table | None
    balances: Table | None
    winners: Table | None

    def given(self) -> list[Table]:
        return [table for table in self if table is not None]

    def names_everybody(self) -> bool:
        """Whether who is not among the rows of the users file does not stand in it either."""
        return self.users is None or self.users.readable


def read_files(users: Path | None, balances: Path | None, winners: Path | None) -> OldFiles:
    """Reads what is given. Raises OSError."""
    return OldFiles(
        read_table(users, USERS) if users else None,
        read_table(balances, BALANCES) if balances else None,
        read_table(winners, WINNERS) if winners else None,
    )


def username(text: str) -> str:
    """A name in any letter case → as it is kept, in lower case."""
    name = text.lower() if text.isascii() else ""
    if not USERNAME.match(name):
        raise ValueError("3 to 32 letters, digits, dots, underscores and dashes, the first a letter or digit")
    return name


def pesos(text: str) -> int:
    """ "-1234.50" → -123450 centavos."""
    match = _PESOS.match(text)
    if match is None:
        raise ValueError("pesos with two decimals and nothing else, such as 1234.50")
    centavos = int(match[2]) * 100 + int(match[3])
    return -centavos if match[1] else centavos


def old_number(text: str) -> str:
    """A ticket number of the older system, in capitals; ours are refused, for they are looked up first."""
    number = text.upper() if text.isascii() else ""
    if not _OLD_NUMBER.match(number):
        raise ValueError("1 to 20 letters, digits and dashes")
    if parse_number(number) is not None:
        raise ValueError("this is a ticket number of drawbreak's own")
    return number


def claim_until(text: str) -> datetime:
    """A date → the end of that day in Manila; or an instant with its offset."""
    if _DAY.match(text):
        return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), MANILA)
    if _INSTANT.match(text):
        return datetime.fromisoformat(text)
    raise ValueError("a date, YYYY-MM-DD, or an instant with its offset")


def _role(text: str) -> Role:
    if text not in list(Role):
        raise ValueError(f"the roles are {', '.join(Role)}")
    return Role(text)


def _commission_bp(text: str) -> int:
    if not _WHOLE.match(text) or int(text) > COMMISSION_BP_MAX:
        raise ValueError(f"hundredths of a percent, a whole number from 0 to {COMMISSION_BP_MAX}")
    return int(text)


def _credit_limit(text: str) -> int:
    centavos = pesos(text)
    if centavos < 0:
        raise ValueError("a credit limit is 0 or more")
    return centavos


def _prize(text: str) -> int:
    centavos = pesos(text)
    if centavos <= 0:
        raise ValueError("a prize is above 0")
    return centavos


def _password_hash(text: str) -> str:
    match = _BCRYPT.match(text)
    if match is None:
        raise ValueError("not a bcrypt hash ($2a$, $2b$ or $2y$, 60 characters)")
    if not 4 <= int(match[1]) <= BCRYPT_COST_MAX:
        raise ValueError(f"a bcrypt hash with a cost from 4 to {BCRYPT_COST_MAX}")
    return text


def _code(text: str) -> str:
    if len(normalize_code(text)) < CODE_CHARACTERS_MIN or len(text) > CODE_CHARACTERS_MAX:
        raise ValueError(
            f"{CODE_CHARACTERS_MIN} to {CODE_CHARACTERS_MAX} characters of ASCII, dashes and spaces not counted"
        )
    return text


def _phone(text: str) -> str:
    if not _PHONE.match(text):
        raise ValueError("a phone number: 3 to 40 digits, spaces and ( ) . / -, maybe a + in front")
    return text


def _words(characters_max: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) > characters_max:
            raise ValueError(f"at most {characters_max} characters")
        if text.startswith(_FORMULA_BEGINNINGS):
            raise ValueError("begins like a formula")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    return parse


USERS = {
    "username": Column(username),
    "role": Column(_role),
    "parent": Column(username),
    "full_name": Column(_words(200), optional=True),
    "phone": Column(_phone, optional=True),
    "address": Column(_words(500), optional=True),
    "commission_bp": Column(_commission_bp, optional=True),
    "credit_limit": Column(_credit_limit, optional=True),
    "password_hash": Column(_password_hash, secret=True),
}
BALANCES = {"username": Column(username), "balance": Column(pesos)}
WINNERS = {
    "number": Column(old_number),
    "code": Column(_code, secret=True),
    "agent": Column(username),
    "prize": Column(_prize),
    "claim_until": Column(claim_until),
    "note": Column(_words(500), optional=True),
}
