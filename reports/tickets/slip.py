"""What stands on a ticket, as texts for people; times are Manila's."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rules.draws import MANILA, parse_draw_name
from rules.texts import pesos
from rules.tickets import Ticket, qr_text, stake, ticket_number

# A ticket with one of these is not to be taken for a good one, whoever shows it.
_STATUS_MARKS = {
    "voided": "VOID - NOT VALID",
    "annulled": "ANNULLED - NOT VALID",
    "refunded": "REFUNDED - NOT VALID",
    "paid": "PRIZE PAID",
    "expired": "CLAIM EXPIRED",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Seller:
    """The agent, as far as a ticket may tell who he is; `name` and `address` may be empty."""

    id: int
    username: str
    name: str
    address: str


@dataclass(frozen=True)
class Slip:
    """A ticket to be printed. `copy`: the number of the last counted reprint, 0 before the first."""

    ticket: Ticket
    code: str
    status: str
    copy: int
    seller: Seller

    @property
    def number(self) -> str:
        return ticket_number(self.ticket.draw, self.ticket.serial)

    @property
    def qr(self) -> str:
        return qr_text(self.number, self.code)

    @property
    def marks(self) -> list[str]:
        """What has to be on it in capitals: that it is not valid any more, that it is a copy."""
        found = [_STATUS_MARKS[self.status]] if self.status in _STATUS_MARKS else []
        return found + ([f"COPY {self.copy}"] if self.copy else [])

    def values(self, paper_mm: int) -> dict[str, Any]:
        """What a template may use: texts, and lists and mappings of texts. docs/operating/tickets.md lists them."""
        draw = parse_draw_name(self.ticket.draw)
        assert draw is not None  # or its ticket would have no number
        sold_at = (_EPOCH + timedelta(milliseconds=self.ticket.accepted_ms)).astimezone(MANILA)
        return {
            "game": draw.game,
            "draw": self.ticket.draw,
            "draw_date": f"{draw.date:%a %-d %b %Y}",
            "draw_time": f"{draw.time:%-I:%M %p}",
            "lines": [
                {"game": draw.game, "play": line.play, "number": line.number, "stake": pesos(line.stake)}
                for line in self.ticket.lines
            ],
            "stake": pesos(stake(self.ticket.lines)),
            "sold_at": f"{sold_at:%-d %b %Y %H:%M:%S}",
            "agent": _seller_values(self.seller),
            "number": self.number,
            "code": self.code,
            "status": self.status,
            "valid": self.status not in _STATUS_MARKS,
            "copy": self.copy,
            "marks": self.marks,
            "paper": paper_mm,
        }


def one_line(text: str) -> str:
    """What somebody has written, as one line without any character that does more than be seen."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in composed).split())


def _seller_values(seller: Seller) -> Mapping[str, Any]:
    return {
        "id": seller.id,
        "username": one_line(seller.username),
        "name": one_line(seller.name),
        "address": one_line(seller.address),
    }
