"""Checking the books: every balance made anew from what it stands for, and each difference said in a sentence.

The caller's transaction should be one snapshot (REPEATABLE READ): sales and settlements go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import balance_sheet
from models.balance_sheet import DRAW_ACCOUNTS, SHAPES
from models.draws import Draw
from models.settlement import commissions_of
from models.sums import sums_of_tickets
from rules.games import anagrams, prize, refusal


class _Names(dict[int, str]):
    """Draws' names by their ids; also where tickets are of no draw that there is."""

    def __missing__(self, draw_id: int) -> str:
        return f"number {draw_id}, which does not exist,"


def check(session: Session) -> list[str]:
    """Every difference that there is; an empty list: the books are right. Amounts are in centavos."""
    names = _Names({row.id: row.name for row in session.execute(select(Draw.id, Draw.name))})
    return [
        *_entries(session),
        *_wallets(session),
        *_sales(session, names),
        *_prizes(session, names),
        *_winners(session, names),
        *_commissions(session, names),
        *_claims(session),
    ]


def _entries(session: Session) -> Iterator[str]:
    for entry_id, kind, total in balance_sheet.unbalanced_entries(session):
        yield f"entry {entry_id} ({kind}): its postings sum to {total} instead of 0"
    for entry_id, kind, account in balance_sheet.entries_by_accounts(session):
        if account not in SHAPES[kind]:
            yield f"entry {entry_id}: a {kind} has no posting on {account}"


def _wallets(session: Session) -> Iterator[str]:
    for user_id, balance, posted in balance_sheet.wallets_unlike_postings(session):
        yield f"wallet of user {user_id}: its balance is {balance}, its postings sum to {posted}"


def _sales(session: Session, names: Mapping[int, str]) -> Iterator[str]:
    for draw_id, serial, stake, lines in balance_sheet.tickets_unlike_lines(session):
        yield f"draw {names[draw_id]}: ticket {serial} has the stake {stake}, its lines {lines}"
    sold = balance_sheet.live_stakes(session)
    booked = balance_sheet.booked_stakes(session)
    for draw_id, user_id in sorted(sold.keys() | booked.keys()):
        tickets, books = sold.get((draw_id, user_id), 0), booked.get((draw_id, user_id), 0)
        if tickets != books:
            yield f"draw {names[draw_id]}: agent {user_id} sold {tickets} by the tickets, {books} in the books"
    totals: dict[int, int] = {}
    for (draw_id, _), stake in sold.items():
        totals[draw_id] = totals.get(draw_id, 0) + stake
    accounts = balance_sheet.draw_accounts(session, ["sales"])
    for draw_id in sorted(totals.keys() | {draw for draw, _ in accounts if draw is not None}):
        wanted, found = totals.get(draw_id, 0), accounts.get((draw_id, "sales"), 0)
        if wanted != found:
            yield f"draw {names[draw_id]}: sales are {found} in the books, {wanted} by the tickets"


def _prizes(session: Session, names: Mapping[int, str]) -> Iterator[str]:
    wanted = balance_sheet.prizes_by_draw(session)
    wanted[None] = balance_sheet.old_prizes(session)
    accounts = balance_sheet.draw_accounts(session, DRAW_ACCOUNTS)
    draws = wanted.keys() | {draw_id for draw_id, _ in accounts}
    for draw_id in sorted(draws, key=lambda draw_id: draw_id or 0):
        of = wanted.get(draw_id, {})
        for account in DRAW_ACCOUNTS:
            found = accounts.get((draw_id, account), 0)
            if found != of.get(account, 0):
                about = "old winners" if draw_id is None else f"draw {names[draw_id]}"
                yield f"{about}: {account} is {found} in the books and should be {of.get(account, 0)}"
    imported, opened = balance_sheet.old_winners_in_opening(session)
    if imported != opened:
        yield f"old winners: their prizes are {imported}, the opening entries say {opened}"


def _winners(session: Session, names: Mapping[int, str]) -> Iterator[str]:
    """The stored winners of each version that counts, against each line on a winning number by the game's rules."""
    for draw_id, version, number in balance_sheet.settled_versions(session):
        draw = session.get_one(Draw, draw_id)
        assert draw.prize_table is not None
        lines = balance_sheet.lines_on(session, draw_id, draw.date, anagrams(draw.game, number))
        won = _won(draw.game, draw.prize_table, number, lines)
        stored = balance_sheet.stored_winners(session, draw_id, version)
        missing, surplus = len(won - stored), len(stored - won)
        if missing or surplus:
            yield f"draw {names[draw_id]}: {missing} winning lines are missing in version {version}, {surplus} too many"


def _won(game: str, prizes: Mapping[str, int], number: str, lines: Sequence[Any]) -> set[tuple[int, int, int, int]]:
    """(serial, line, agent, prize) of those lines that win. Nothing is won by a bet that cannot be made."""
    won = set()
    for serial, line_no, agent_id, play, bet, stake in lines:
        if refusal(game, play, bet) is None and (due := prize(game, prizes, play, bet, stake, number)):
            won.add((serial, line_no, agent_id, due))
    return won


def _commissions(session: Session, names: Mapping[int, str]) -> Iterator[str]:
    booked = balance_sheet.booked_commissions(session)
    done = balance_sheet.draws_with_commissions(session)
    for draw_id in sorted(done | booked.keys()):
        found, wanted = booked.get(draw_id, {}), {}
        if draw_id in done:
            draw = session.get_one(Draw, draw_id)
            assert draw.opened_at is not None
            wanted = commissions_of(session, draw.opened_at, sums_of_tickets(session, draw, bets=False).live())
        for user_id in sorted(found.keys() | wanted.keys()):
            if found.get(user_id, 0) != wanted.get(user_id, 0):
                yield (
                    f"draw {names[draw_id]}: the commission of user {user_id} is {found.get(user_id, 0)} in the books"
                    f" and should be {wanted.get(user_id, 0)}"
                )


def _claims(session: Session) -> Iterator[str]:
    for number, paid, tax, claimed, claimed_tax in balance_sheet.payouts_unlike_claims(session):
        yield f"ticket {number}: {paid} was paid (tax {tax}), its claims say {claimed} (tax {claimed_tax})"
    for number, claim_id in balance_sheet.claims_unlike_entries(session):
        yield f"ticket {number}: claim {claim_id} and its entry in the books differ"
    for entry_id, number in balance_sheet.claim_entries_without_claims(session):
        yield f"entry {entry_id}: it pays ticket {number}, but no claim says so"
