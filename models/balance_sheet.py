"""What the books say, and what they stand for, tickets, voids, payouts and claims: for checking one by the other.

Statements over everything that is stored: for a check, not for serving calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

_HOUSE_OR_WALLET = {"wallet", "cash"}

# Which accounts each kind of entry may touch (docs/books.md).
SHAPES: dict[str, set[str]] = {
    "load": _HOUSE_OR_WALLET,
    "remittance": _HOUSE_OR_WALLET,
    "shortage": _HOUSE_OR_WALLET,
    "correction": {"wallet", "corrections"},
    "sale": {"wallet", "sales"},
    "void": {"wallet", "sales"},
    "refund": {"wallet", "sales"},
    "prizes": {"prizes", "prizes_owed"},
    "prizes_reversed": {"prizes", "prizes_owed"},
    "paid_in_error": {"prizes_paid", "paid_in_error"},
    "commission": {"wallet", "commissions"},
    "claim": {"prizes_owed", "wallet", "cash", "tax_withheld", "prizes", "prizes_paid"},
    "expiry": {"prizes_owed", "unclaimed"},
    "opening": {"wallet", "prizes_owed", "opening"},
}

# House accounts whose balance a draw's winners, payouts and claims tell.
DRAW_ACCOUNTS = ("prizes", "prizes_owed", "prizes_paid", "paid_in_error", "tax_withheld", "unclaimed")

# The version of each draw's result whose prizes are in the books.
_BOOKED = """
    SELECT draw_id, max(version) AS version FROM settlement_steps
    WHERE name = 'prizes' AND status = 'done' GROUP BY draw_id
"""

Rows = Sequence[Any]


def _rows(session: Session, statement: str, **values: object) -> Rows:
    return session.execute(text(statement), values).all()


# ── entries and wallets ─────────────────────────────────────────────────────────────────────────────────────


def unbalanced_entries(session: Session) -> Rows:
    """(entry, kind, sum) of entries whose postings do not sum to zero, or that have none."""
    return _rows(
        session,
        """
        SELECT e.id, e.kind, CAST(sum(p.amount) AS bigint) FROM entries e LEFT JOIN postings p ON p.entry_id = e.id
        GROUP BY e.id, e.kind HAVING coalesce(sum(p.amount), 1) <> 0 ORDER BY e.id
        """,
    )


def entries_by_accounts(session: Session) -> Rows:
    """(an entry, its kind, an account's kind) for every combination of the two kinds that there is."""
    return _rows(
        session,
        """
        SELECT min(e.id), e.kind, a.kind FROM entries e
        JOIN postings p ON p.entry_id = e.id JOIN accounts a ON a.id = p.account_id
        GROUP BY e.kind, a.kind ORDER BY 1
        """,
    )


def wallets_unlike_postings(session: Session) -> Rows:
    """(user, balance, sum of postings) where the two differ; None stands for a missing one."""
    return _rows(
        session,
        """
        SELECT coalesce(w.user_id, s.user_id), w.balance, CAST(s.posted AS bigint)
        FROM wallets w
        FULL JOIN (SELECT a.user_id, coalesce(sum(p.amount), 0) AS posted FROM accounts a
                   LEFT JOIN postings p ON p.account_id = a.id WHERE a.kind = 'wallet' GROUP BY a.user_id) AS s
          ON s.user_id = w.user_id
        WHERE w.balance IS DISTINCT FROM s.posted ORDER BY 1
        """,
    )


# ── sales ───────────────────────────────────────────────────────────────────────────────────────────────────


def tickets_unlike_lines(session: Session) -> Rows:
    """(draw, serial, stake, sum of its lines' stakes) where the two differ."""
    return _rows(
        session,
        """
        SELECT t.draw_id, t.serial, t.stake, CAST(coalesce(l.stake, 0) AS bigint) FROM tickets t
        LEFT JOIN (SELECT draw_date, draw_id, serial, sum(stake) AS stake FROM ticket_lines
                   GROUP BY draw_date, draw_id, serial) AS l USING (draw_date, draw_id, serial)
        WHERE t.stake IS DISTINCT FROM l.stake ORDER BY t.draw_id, t.serial
        """,
    )


def live_stakes(session: Session) -> dict[tuple[int, int], int]:
    """Stake of the tickets that count by (draw, agent), zeros left out; a void draw's all went back."""
    rows = _rows(
        session,
        """
        SELECT t.draw_id, t.agent_id, CAST(sum(t.stake - coalesce(v.stake, 0)) AS bigint) FROM tickets t
        JOIN draws d ON d.id = t.draw_id AND d.status <> 'void'
        LEFT JOIN voids v ON v.draw_id = t.draw_id AND v.ticket_serial = t.serial AND v.stake > 0
        GROUP BY t.draw_id, t.agent_id HAVING sum(t.stake - coalesce(v.stake, 0)) <> 0
        """,
    )
    return {(draw_id, agent_id): stake for draw_id, agent_id, stake in rows}


def booked_stakes(session: Session) -> dict[tuple[int, int], int]:
    """What sales, voids and refunds took from wallets by (draw, agent), zeros left out."""
    rows = _rows(
        session,
        """
        SELECT e.draw_id, a.user_id, CAST(-sum(p.amount) AS bigint) FROM entries e
        JOIN postings p ON p.entry_id = e.id JOIN accounts a ON a.id = p.account_id AND a.kind = 'wallet'
        WHERE e.kind IN ('sale', 'void', 'refund')
        GROUP BY e.draw_id, a.user_id HAVING sum(p.amount) <> 0
        """,
    )
    return {(draw_id, user_id): stake for draw_id, user_id, stake in rows}


def draw_accounts(session: Session, kinds: Sequence[str]) -> dict[tuple[int | None, str], int]:
    """Sum of the postings by (draw, house account); draw None: of entries that are about no draw."""
    rows = _rows(
        session,
        """
        SELECT e.draw_id, a.kind, CAST(sum(p.amount) AS bigint) FROM accounts a
        JOIN postings p ON p.account_id = a.id JOIN entries e ON e.id = p.entry_id
        WHERE a.kind = ANY(:kinds) GROUP BY e.draw_id, a.kind
        """,
        kinds=list(kinds),
    )
    return {(draw_id, kind): total for draw_id, kind, total in rows}


# ── prizes ──────────────────────────────────────────────────────────────────────────────────────────────────


def prizes_by_draw(session: Session) -> dict[int | None, dict[str, int]]:
    """What the accounts of DRAW_ACCOUNTS should be by draw, from payouts and the stored winners."""
    rows = _rows(
        session,
        f"""
        WITH won AS (
            SELECT w.draw_id, w.serial, sum(w.prize) AS prize FROM winners w
            JOIN ({_BOOKED}) AS b USING (draw_id, version) GROUP BY w.draw_id, w.serial),
        tickets AS (
            SELECT draw_id, coalesce(won.prize, 0) AS prize, coalesce(p.paid, 0) AS paid,
                   coalesce(p.tax, 0) AS tax, coalesce(p.expired, 0) AS expired
            FROM won FULL JOIN (SELECT * FROM payouts WHERE draw_id IS NOT NULL) AS p USING (draw_id, serial))
        SELECT draw_id, CAST(sum(greatest(prize - paid, 0)) AS bigint), CAST(sum(greatest(paid - prize, 0)) AS bigint),
               CAST(sum(paid) AS bigint), CAST(sum(tax) AS bigint), CAST(sum(expired) AS bigint)
        FROM tickets GROUP BY draw_id
        """,
    )
    return {
        draw_id: {
            "prizes": -due,
            "prizes_owed": due - expired,
            "prizes_paid": excess - paid,
            "paid_in_error": -excess,
            "tax_withheld": tax,
            "unclaimed": expired,
        }
        for draw_id, due, excess, paid, tax, expired in rows
    }


def old_prizes(session: Session) -> dict[str, int]:
    """The same for winners of an older system: their cost is in the opening balance."""
    row = session.execute(
        text(
            """
            SELECT CAST(coalesce(sum(o.prize - coalesce(p.paid, 0) - coalesce(p.expired, 0)), 0) AS bigint),
                   CAST(coalesce(sum(p.tax), 0) AS bigint), CAST(coalesce(sum(p.expired), 0) AS bigint)
            FROM old_winners o LEFT JOIN payouts p ON p.number = o.number AND p.draw_id IS NULL
            """
        )
    ).one()
    return {"prizes_owed": row[0], "tax_withheld": row[1], "unclaimed": row[2]}


def old_winners_in_opening(session: Session) -> tuple[int, int]:
    """(prizes of all old winners, what the opening entries say is owed to them)."""
    row = session.execute(
        text(
            """
            SELECT CAST((SELECT coalesce(sum(prize), 0) FROM old_winners) AS bigint),
                   CAST((SELECT coalesce(sum(p.amount), 0) FROM entries e JOIN postings p ON p.entry_id = e.id
                         JOIN accounts a ON a.id = p.account_id AND a.kind = 'prizes_owed'
                         WHERE e.kind = 'opening') AS bigint)
            """
        )
    ).one()
    return row[0], row[1]


def settled_versions(session: Session) -> Rows:
    """(draw, version, number drawn) of the versions whose prizes are in the books."""
    return _rows(
        session,
        f"SELECT draw_id, version, r.number FROM ({_BOOKED}) AS b JOIN results r USING (draw_id, version) ORDER BY 1",
    )


def lines_on(session: Session, draw_id: int, day: Date, numbers: Sequence[str]) -> Rows:
    """(serial, line, agent, play, number, stake) of the draw's lines on these numbers, of tickets that count."""
    voided = {
        serial
        for (serial,) in _rows(
            session, "SELECT ticket_serial FROM voids WHERE draw_id = :draw AND stake > 0", draw=draw_id
        )
    }
    lines = _rows(
        session,
        """
        SELECT l.serial, l.line_no, t.agent_id, l.play, l.number, l.stake FROM ticket_lines l
        JOIN tickets t USING (draw_date, draw_id, serial)
        WHERE l.draw_date = :day AND l.draw_id = :draw AND l.number = ANY(:numbers)
        """,
        draw=draw_id,
        day=day,
        numbers=list(numbers),
    )
    return [line for line in lines if line.serial not in voided]


def stored_winners(session: Session, draw_id: int, version: int) -> set[tuple[int, int, int, int]]:
    """(serial, line, agent, prize) of every stored winner of the version."""
    rows = _rows(
        session,
        "SELECT serial, line_no, agent_id, prize FROM winners WHERE draw_id = :draw AND version = :version",
        draw=draw_id,
        version=version,
    )
    return {(serial, line_no, agent_id, prize) for serial, line_no, agent_id, prize in rows}


# ── commissions and claims ──────────────────────────────────────────────────────────────────────────────────


def booked_commissions(session: Session) -> dict[int, dict[int, int]]:
    """Commission by draw and user."""
    found: dict[int, dict[int, int]] = {}
    for draw_id, user_id, amount in _rows(
        session,
        """
        SELECT e.draw_id, a.user_id, p.amount FROM entries e JOIN postings p ON p.entry_id = e.id
        JOIN accounts a ON a.id = p.account_id AND a.kind = 'wallet' WHERE e.kind = 'commission'
        """,
    ):
        found.setdefault(draw_id, {})[user_id] = amount
    return found


def draws_with_commissions(session: Session) -> set[int]:
    """Draws whose commissions are settled, in whichever version of their result."""
    steps = "SELECT DISTINCT draw_id FROM settlement_steps WHERE name = 'commissions' AND status = 'done'"
    return {draw_id for (draw_id,) in _rows(session, steps)}


def payouts_unlike_claims(session: Session) -> Rows:
    """(ticket's number, paid, tax, paid by its claims, tax by its claims) where they differ."""
    return _rows(
        session,
        """
        SELECT p.number, p.paid, p.tax, CAST(coalesce(c.paid, 0) AS bigint), CAST(coalesce(c.tax, 0) AS bigint)
        FROM payouts p
        LEFT JOIN (SELECT number, sum(prize) AS paid, sum(tax) AS tax FROM claims WHERE status = 'paid'
                   GROUP BY number) AS c USING (number)
        WHERE (p.paid, p.tax) <> (coalesce(c.paid, 0), coalesce(c.tax, 0)) ORDER BY p.number
        """,
    )


def claims_unlike_entries(session: Session) -> Rows:
    """(ticket's number, claim) of paid claims whose entry is missing, shared, or of other amounts."""
    return _rows(
        session,
        """
        SELECT c.number, c.id
        FROM (SELECT *, count(*) OVER (PARTITION BY entry_id) AS sharing FROM claims WHERE status = 'paid') AS c
        LEFT JOIN payouts o ON o.number = c.number
        LEFT JOIN entries e ON e.id = c.entry_id AND e.kind = 'claim' AND e.ticket = c.number
                           AND e.draw_id IS NOT DISTINCT FROM o.draw_id
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(p.amount) FILTER (WHERE a.kind = 'prizes_owed'), 0) AS owed,
                   coalesce(sum(p.amount) FILTER (WHERE a.kind = 'tax_withheld'), 0) AS tax,
                   coalesce(sum(p.amount) FILTER (WHERE a.kind IN ('wallet', 'cash')), 0) AS given
            FROM postings p JOIN accounts a ON a.id = p.account_id WHERE p.entry_id = e.id) AS s ON true
        WHERE e.id IS NULL OR c.sharing > 1 OR (s.owed, s.tax, s.given) <> (-c.prize, c.tax, c.prize - c.tax)
        ORDER BY c.id
        """,
    )


def claim_entries_without_claims(session: Session) -> Rows:
    """(entry, ticket's number) of entries that pay a prize of which no claim knows."""
    return _rows(
        session,
        """
        SELECT e.id, e.ticket FROM entries e
        WHERE e.kind = 'claim' AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.entry_id = e.id) ORDER BY e.id
        """,
    )
