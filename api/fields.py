"""Fields of request and answer schemas: exact where Marshmallow's own are generous."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, time
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate
from werkzeug.routing import IntegerConverter

from rules.limits import LIMIT_MAX
from rules.texts import printable

PAGE_DEFAULT = 50
PAGE_MAX = 500
CURSOR_CHARACTERS_MAX = 100

_INSTANT = re.compile(
    r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)
# Longer than any number that a column holds, and far from where int() gives up.
DIGITS = "[0-9]{1,40}"
_DIGITS = re.compile(rf"\A{DIGITS}\Z")
_DATE = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(r"\A[0-9]{2}:[0-9]{2}\Z")
# The years in which a draw can lie (rules.draws), with a day around them for time zones.
_FIRST_YEAR, _LAST_YEAR = 2000, 3000


class Whole(fields.Integer):
    """A JSON integer: no float, no text, no truth value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict=True, **options)


class Digits(fields.Integer):
    """A whole number in a query. Python's int() takes signs, spaces, underscores and every script's digits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"minimum": 0, **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not (isinstance(value, str) and _DIGITS.match(value)):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class DigitsConverter(IntegerConverter):
    """A whole number in a path, as strict; anything else is the path of nothing."""

    regex = DIGITS


def centavos(least: int = 0, most: int = LIMIT_MAX, **options: Any) -> Whole:
    """Money."""
    return Whole(validate=validate.Range(least, most), **options)


def patterned(pattern: str, **metadata: Any) -> fields.String:
    r"""A required string of one shape; `pattern` runs from \A to \Z, for which OpenAPI gets ^ and $."""
    shown, check = _shown(pattern), re.compile(pattern)

    def matches(text: str) -> None:
        if not check.match(text):
            raise ValidationError(f"does not match {shown}")

    return fields.String(required=True, validate=matches, metadata={"pattern": shown, **metadata})


def _shown(pattern: str) -> str:
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


class Line(fields.String):
    """Text for people, without control characters, which no column and no log wants."""

    def __init__(self, least: int = 1, most: int = 200, **options: Any) -> None:
        super().__init__(validate=validate.Length(least, most), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if not printable(text):
            raise ValidationError("printable text")
        return text


class OneLine(Line):
    """The same without line breaks and tabs."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not text.isprintable():
            raise ValidationError("one line of printable text")
        return text


class _Parsed(fields.String, ABC):
    """A string of one shape, read by a function that may raise ValueError."""

    shape: re.Pattern[str]
    says: str
    openapi_format: str | None = None

    def __init__(self, **options: Any) -> None:
        metadata = {"description": self.says}
        if self.openapi_format:
            metadata["format"] = self.openapi_format
        else:
            metadata["pattern"] = _shown(self.shape.pattern)
        super().__init__(metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            if not self.shape.match(text):
                raise ValueError
            return self.parsed(text)
        except (ValueError, OverflowError) as error:
            raise ValidationError(self.says) from error

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return value

    @abstractmethod
    def parsed(self, text: str) -> Any:
        """What the text says. Raises ValueError, OverflowError."""


class Instant(_Parsed):
    """RFC 3339 with its offset → an aware datetime in UTC."""

    shape, says, openapi_format = _INSTANT, "an instant as in RFC 3339, with its offset", "date-time"

    def parsed(self, text: str) -> datetime:
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
        if not _FIRST_YEAR <= instant.year < _LAST_YEAR:
            raise ValueError
        return instant


class Day(_Parsed):
    """YYYY-MM-DD → a date."""

    shape, says, openapi_format = _DATE, "a date, YYYY-MM-DD", "date"

    def parsed(self, text: str) -> date:
        return date.fromisoformat(text)


class Minute(_Parsed):
    """HH:MM → a time."""

    shape, says = _TIME, "a time, HH:MM"

    def parsed(self, text: str) -> time:
        return time.fromisoformat(text)


class Answer(Schema):
    """What an answer has at least; whoever reads it ignores what he does not know."""

    class Meta:
        unknown = INCLUDE


class Page(Schema):
    """What every list takes."""

    limit = Digits(load_default=PAGE_DEFAULT, validate=validate.Range(1, PAGE_MAX))
    cursor = Line(most=CURSOR_CHARACTERS_MAX, load_default=None, metadata={"description": "`next` of the page before"})


def list_of(schema: type[Schema]) -> type[Schema]:
    """The schema of a list's answer: {"items": […], "next": cursor or null}."""
    return Answer.from_dict(
        {
            "items": fields.List(fields.Nested(schema), required=True),
            "next": fields.String(required=True, allow_none=True),
        },
        name=f"{schema.__name__}List",
    )
