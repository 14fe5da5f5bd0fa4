"""Options that are text for people to read later: taken as the API takes them."""

from __future__ import annotations

from typing import Any

import click

from rules.texts import REASON_CHARACTERS_MAX, printable


class Reason(click.ParamType[str]):
    """Why somebody did something."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not printable(text) or len(text) > REASON_CHARACTERS_MAX:
            self.fail(f"must be printable text of at most {REASON_CHARACTERS_MAX} characters", param, ctx)
        return text
