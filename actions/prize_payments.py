"""Paying a prize: the books, the wallet of whoever paid it out in cash, and the ticket's payout."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from actions.sealed import sealed_prize
from models import ledger
from models.claims import Payout
from models.draws import Draw
from models.people import User, add_to_balances, lock_wallets, loosen
from rules.errors import OnHold
from rules.rights import ADMINISTRATORS, Role

_log = structlog.get_logger()


def pay(session: Session, draw: Draw | None, payout: Payout, claimer: User, amount: int, tax: int, made_by: int) -> int:
    """Books `amount` centavos of the prize, `tax` of it withheld; the entry's id. Draw and payout must be locked.

    The claimer gives the payee cash and gets it back in his wallet; an administrator takes it from the house's. The
    gate learns of it by outbox: push after the commit.

    Raises OnHold, with an alarm, if the ticket does not win as much by what was sealed: a row of `winners` alone pays
    nothing.
    """
    if draw is not None:
        _must_be_sealed(session, draw, payout, payout.paid + amount)
    net = amount - tax
    wallets: dict[int, int] = {}
    house = {"prizes_owed": -amount, "tax_withheld": tax}
    if Role(claimer.role) in ADMINISTRATORS:
        house["cash"] = net
    else:
        wallets[claimer.id] = net
        lock_wallets(session, [claimer.id])
        add_to_balances(session, wallets)
        if claimer.role == Role.AGENT and net:  # only an agent sells, so only agents' wallets are the gate's affair
            loosen(session, wallets, "prize")
    if draw is not None:  # an older system's prizes were a cost over there
        house |= {"prizes": amount, "prizes_paid": -amount}
    payout.paid += amount
    payout.tax += tax
    return ledger.post(
        session,
        "claim",
        wallets,
        house,
        draw_id=draw.id if draw is not None else None,
        version=draw.result_version if draw is not None else None,
        ticket=payout.number,
        made_by=made_by,
    )


def _must_be_sealed(session: Session, draw: Draw, payout: Payout, prize: int) -> None:
    assert payout.serial is not None
    sealed = sealed_prize(session, draw, payout.serial)
    if prize > sealed:
        _log.error("prize_unlike_seal", ticket=payout.number, draw=draw.name, prize=prize, sealed=sealed)
        raise OnHold("This ticket is not as it was sealed; its prize waits until somebody has looked into it.")
