"""What is due on a winning ticket, the tax on it, and what its status says. Money in centavos."""

from datetime import datetime, timedelta

BASIS_POINTS = 10_000


def claim_until(draws_at: datetime, days: int) -> datetime:
    """The instant from which a draw's prizes cannot be claimed any more."""
    return draws_at + timedelta(days=days)


def due(prize: int, paid: int, expired: int = 0) -> int:
    """What is still to be paid of a prize. A ticket that was paid more than its prize is due nothing."""
    return max(0, prize - paid - expired)


def withholding(prize: int, amount: int, withheld: int, above: int, basis_points: int) -> int:
    """The tax on paying `amount` of a ticket's whole `prize`, after `withheld` of what was paid before.

    Above `above` all of the prize is taxed. A correction may take a prize over that line when part of it has been paid
    untaxed: then the rest bears the tax of the whole, as far as it goes.
    """
    whole = prize * basis_points // BASIS_POINTS if prize > above else 0
    return min(amount, max(0, whole - withheld))


def claim_status(prize: int, paid: int, expired: int, *, pending: bool, over: bool) -> str:
    """The status of a ticket of a settled draw that counts. `over`: the time to claim has passed.

    What was paid shows even where a later version of the result gives the ticket less, or nothing.
    """
    if pending:
        return "claim_pending"
    if due(prize, paid, expired):
        return "expired" if over else "won"
    if expired:
        return "expired"
    return "paid" if paid else "lost"
