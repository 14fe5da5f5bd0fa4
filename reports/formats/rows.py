"""What all formats do alike: rows held against their totals while they pass, and values as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

from reports.document import Kind, Table
from rules.draws import MANILA

# What can be added up, and is.
SUMMED = (Kind.COUNT, Kind.MONEY)

# What a spreadsheet takes for the beginning of a formula, in the letters of a wide keyboard, too.
_FORMULA_STARTS = tuple("=+-@＝＋－＠")
_CONTROL_STARTS = ("\t", "\r", "\n")


class Made(NamedTuple):
    """Who asked for the document (a username), when, and of which instant its figures are."""

    asked_by: str
    asked_at: datetime
    at: datetime


def checked(table: Table) -> Iterator[tuple[Any, ...]]:
    """The table's rows. Raises ValueError at their end if they do not add up to its totals, or at one of a wrong
    length: nobody gets a document that contradicts itself."""
    places = [place for place, column in enumerate(table.columns) if column.kind in SUMMED]
    sums = dict.fromkeys(places, 0)
    width = len(table.columns)
    for row in table.rows:
        if len(row) != width:
            raise ValueError(f"{table.name}: a row of {len(row)} values for {width} columns")
        for place in places:
            sums[place] += row[place] or 0
        yield row
    found = {table.columns[place].name: total for place, total in sums.items()}
    for name, total in table.totals.items():
        if found.get(name) != total:
            raise ValueError(f"{table.name}.{name}: the rows add up to {found.get(name)}, not to {total}")


def totals_of(table: Table, label: str) -> tuple[Any, ...] | None:
    """A row with the totals at their places, and the label at the first place that has none; None: no totals. To be
    asked for after the rows: totals may be counted while these pass."""
    if not table.totals:
        return None
    row = [table.totals.get(column.name) for column in table.columns]
    free = next((place for place, total in enumerate(row) if total is None), None)
    return tuple(label if place == free else total for place, total in enumerate(row))


def text_of(value: Any) -> str:
    """Any value as text; None: nothing."""
    return "" if value is None else str(value)


def defused(text: str) -> str:
    """The text as a spreadsheet takes it for text: one that could be a formula gets an apostrophe in front."""
    return f"'{text}" if is_formula(text) else text


def is_formula(text: str) -> bool:
    """Whether a spreadsheet could take the text for a formula, blanks in front of it or not."""
    return text.startswith(_CONTROL_STARTS) or text.lstrip().startswith(_FORMULA_STARTS)


def hundredths(number: int, separator: str = "") -> str:
    """Centavos as pesos, basis points as percent: 123456 → "1234.56"."""
    whole, rest = divmod(abs(number), 100)
    return f"{'-' if number < 0 else ''}{whole:{separator}}.{rest:02}"


def in_manila(instant: datetime) -> datetime:
    """The instant by the clock in Manila, without parts of a second."""
    return instant.astimezone(MANILA).replace(microsecond=0)


def plain(kind: Kind, value: Any) -> str:
    """A value for programs: no thousands separators, pesos and percent with two decimals, ISO dates."""
    if value is None:
        return ""
    if kind in (Kind.MONEY, Kind.SHARE):
        return hundredths(value)
    if kind is Kind.INSTANT:
        return in_manila(value).isoformat()
    if kind is Kind.DATE:
        return _iso(value)
    return str(value) if kind in (Kind.ID, Kind.COUNT) else defused(str(value))


def shown(kind: Kind, value: Any) -> str:
    """A value for people."""
    if value is None:
        return "–"
    if kind is Kind.COUNT:
        return f"{value:,}"
    if kind is Kind.MONEY:
        return hundredths(value, ",")
    if kind is Kind.SHARE:
        return f"{hundredths(value, ',')}%"
    if kind is Kind.INSTANT:
        return f"{in_manila(value):%Y-%m-%d %H:%M:%S}"
    return _iso(value) if kind is Kind.DATE else str(value)


def one_line(text: str) -> str:
    """The text with a blank for every line break and tab: one with a hundred lines would take a page a cell."""
    return "".join(" " if sign in "\r\n\t\v\f" else sign for sign in text)


def shown_alone(kind: Kind, value: Any) -> str:
    """A value for people that has no column of its like around it: money with its sign."""
    text = shown(kind, value)
    if kind is not Kind.MONEY or value is None:
        return text
    return f"-₱{text[1:]}" if value < 0 else f"₱{text}"


def _iso(day: date) -> str:
    return day.isoformat()
