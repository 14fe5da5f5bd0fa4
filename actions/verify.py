"""Public verification: what whoever holds a ticket's code may learn, with the proof that it was sealed."""

from __future__ import annotations

from typing import Any

from actions.claimable import old_winner
from actions.proofs import inclusion_proof
from actions.receipts import line_body
from actions.resources import Resources
from actions.tickets import find_by_number
from models.claims import OldWinner, Payout, pending_claim
from models.draws import draw_by_name
from models.settlement import prizes_of
from rules.claims import claim_status
from rules.draws import FIRST_DAY, SCHEDULE_TIMES, draw_name
from rules.games import GAMES
from rules.tickets import Line, Ticket, code_matches, old_code_matches, parse_number, stake

# Compared with the typed code where there is no ticket, so that "no such ticket" and "wrong code" cost alike.
_NOBODYS = Ticket(
    draw_name(next(iter(GAMES)), FIRST_DAY, SCHEDULE_TIMES[0]),
    1,
    "00000000-0000-0000-0000-000000000000",
    0,
    0,
    (Line("straight", "000", 100),),
    0,
)


def verify(res: Resources, number: str, code: str) -> dict[str, Any]:
    """The ticket with that number if the code is its own, else {"valid": False} and nothing more.

    `prize` in centavos once the draw is settled, else None; `inclusion_proof` once it is sealed, else None.
    A winner of an older system has no lines, stake and proof here. Raises IntakeUnavailable.
    """
    old = old_winner(res, number)
    if old is not None:
        return _verify_old(res, old, code)
    parsed = parse_number(number)
    found = find_by_number(res, number)
    ticket = found.ticket if found is not None else _NOBODYS
    with res.sessions() as session:
        draw = draw_by_name(session, parsed[0] if parsed is not None else ticket.draw)
        if not code_matches(res.settings.code_key, ticket, code) or found is None or draw is None:
            return {"valid": False}
        prize = None
        if draw.status == "settled":
            prize = prizes_of(session, draw.id, draw.result_version, [ticket.serial]).get(ticket.serial, 0)
        return {
            "valid": True,
            "draw": draw.name,
            "lines": [line_body(draw.game, line) for line in ticket.lines],
            "stake": stake(ticket.lines),
            "status": found.status,
            "prize": prize,
            "inclusion_proof": inclusion_proof(session, draw, ticket.serial),
        }


def _verify_old(res: Resources, old: OldWinner, code: str) -> dict[str, Any]:
    if not old_code_matches(res.settings.code_key, old.number, old.code_digest, code):
        return {"valid": False}
    with res.sessions() as session:
        payout = session.get(Payout, old.number)
        paid, expired = (payout.paid, payout.expired) if payout is not None else (0, 0)
        pending = pending_claim(session, old.number) is not None
    over = res.clock.now() >= old.claim_until
    return {
        "valid": True,
        "draw": None,
        "lines": [],
        "stake": None,
        "status": claim_status(old.prize, paid, expired, pending=pending, over=over),
        "prize": old.prize,
        "inclusion_proof": None,
    }
