"""Moving in from an older system: people, balances and unpaid winners, all or nothing, in one transaction.

A trial run does all that the real one does, up to the commit, and takes it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import ColumnElement, Insert, Text, any_, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from actions.audit import record
from actions.csv_rows import Finding, Row
from actions.moving_checks import check_balances, check_winners
from actions.moving_files import OldFiles
from actions.moving_tree import Standing, check_tree, levels, names_of
from actions.resources import Resources
from models import ledger
from models.audit import AuditRow
from models.base import Base
from models.claims import OldWinner
from models.ledger import Account
from models.people import CommissionRate, User, Wallet, commissions_over, loosen, share_users, suspended_among
from rules.rights import Role
from rules.tickets import old_code_digest
from runtime.origin import origin

# Somebody else may take a name between our look and our insert; then we look again.
TRIES = 3


@dataclass
class Outcome:
    """What was found, or else what was written (a trial run: would be); money in centavos."""

    findings: list[Finding] = field(default_factory=list)
    people: dict[Role, int] = field(default_factory=dict)
    balances: int = 0  # their sum, signed
    winners: int = 0
    prizes: int = 0  # of the winners
    committed: bool = False


class _Newcomer(NamedTuple):
    id: int
    row: Row
    role: Role
    ancestors: list[int]
    commission_bp: int
    credit_limit: int
    balance: int


def move_in(res: Resources, files: OldFiles, *, commit: bool) -> Outcome:
    """Writes what the files hold unless anything is wrong with them; with `commit` False takes it back again.

    The gate gets the agents' credit by outbox rows. Twice the same is refused: the names are taken then.
    """
    read = [len(table.findings) for table in files.given()]
    for tries_left in reversed(range(TRIES)):
        try:
            outcome = _attempt(res, files, commit)
            break
        except IntegrityError:
            if not tries_left:
                raise
            for table, count in zip(files.given(), read, strict=True):
                del table.findings[count:]
    if outcome.committed:
        res.doorbell.ring("wallets.push")
    return outcome


def _attempt(res: Resources, files: OldFiles, commit: bool) -> Outcome:
    with res.sessions() as session:
        # Half a million rows are not checked in the seconds that a transaction may be idle otherwise.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5min'"))
        # One at a time: the second sees what the first has written.
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('move_in'))"))
        named = names_of(files.users)
        here = _already_here(session, files, named)
        if files.users:
            check_tree(files.users, named, here)
        check_balances(files, named)
        check_winners(files, named, here, _stored_numbers(session, files), res.clock.now())
        findings = [finding for table in files.given() for finding in sorted(table.findings)]
        if findings:
            return Outcome(findings)
        outcome = Outcome(committed=commit)
        newcomers = _add_people(session, files, named, here)
        if findings := _commissions_over(res, session, files, named, newcomers):
            return Outcome(findings)
        _add_what_they_have(session, newcomers, outcome)
        ids = {name: standing.id for name, standing in here.items()}
        ids |= {str(newcomer.row.cells["username"]): newcomer.id for newcomer in newcomers}
        _add_winners(session, files, ids, res.settings.code_key, outcome)
        given = [{"file": table.file, "sha256": table.digest, "rows": len(table.rows)} for table in files.given()]
        figures = {"balances": outcome.balances, "winners": outcome.winners, "prizes": outcome.prizes}
        record(session, "import", "import", after={"files": given, **figures})
        session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))  # a trial run looks at the books' balance, too
        if commit:
            session.commit()
        return outcome


def _already_here(session: Session, files: OldFiles, named: Mapping[str, Row]) -> dict[str, Standing]:
    """Who of all the people that the files name is a user already.

    Parents and all above them stay locked against suspension: it comes before us and is seen, or after us and finds
    the newcomers below.
    """
    parents = {parent for row in named.values() if (parent := row.get("parent", str))}
    agents = {agent for row in (files.winners.rows if files.winners else ()) if (agent := row.get("agent", str))}
    query = select(User.id, User.username, User.role, User.ancestors)
    users = session.execute(query.where(User.username == _any_of(parents | agents | set(named)))).all()
    above = [user for user in users if user.username in parents]
    share_users(session, {user_id for user in above for user_id in (*user.ancestors, user.id)})
    suspended = suspended_among(session, {user.id for user in above})
    return {user.username: Standing(user.id, Role(user.role), user.ancestors, user.id in suspended) for user in users}


def _stored_numbers(session: Session, files: OldFiles) -> set[str]:
    numbers = [number for row in (files.winners.rows if files.winners else ()) if (number := row.get("number", str))]
    return set(session.scalars(select(OldWinner.number).where(OldWinner.number == _any_of(numbers))))


def _any_of(texts: Iterable[str]) -> ColumnElement[bool]:
    """As one parameter: a statement takes 65,535 at the most."""
    return any_(literal(list(texts), ARRAY(Text)))


def _bulk(table: type[Base]) -> Insert:
    """For many rows in few statements: else rows with and without a None would each need one of their own."""
    return insert(table).execution_options(render_nulls=True)


def _add_people(
    session: Session, files: OldFiles, named: Mapping[str, Row], here: Mapping[str, Standing]
) -> list[_Newcomer]:
    """Makes the users, from the top of the tree downwards."""
    rows = files.balances.rows if files.balances else ()
    balances = {str(row.cells["username"]): row.get("balance", int) or 0 for row in rows}
    chains = {name: [*standing.ancestors, standing.id] for name, standing in here.items()}
    newcomers: list[_Newcomer] = []
    for level in levels(named):
        values = [_user_values(row, chains[str(row.cells["parent"])]) for _, row in level]
        made = session.execute(_bulk(User).returning(User.id, User.username, User.ancestors), values)
        for user_id, name, ancestors in made:
            chains[name] = [*ancestors, user_id]
            row = named[name]
            bp, limit = row.get("commission_bp", int) or 0, row.get("credit_limit", int) or 0
            role = Role(str(row.cells["role"]))
            newcomers.append(_Newcomer(user_id, row, role, ancestors, bp, limit, balances.get(name, 0)))
    return newcomers


def _commissions_over(
    res: Resources, session: Session, files: OldFiles, named: Mapping[str, Row], newcomers: Collection[_Newcomer]
) -> list[Finding]:
    """Where the newcomers' rates, with those of the coordinators above them, are more than a sale may earn."""
    if files.users is None or not newcomers:
        return []
    most = res.settings.commission_bp_max
    for username, total in commissions_over(session, [new.id for new in newcomers], most, below=False):
        message = f"a sale of {username} would earn {total} with all above; at most {most}"
        files.users.find(named[username].line, "commission_bp", message)
    return sorted(files.users.findings)


def _user_values(row: Row, ancestors: list[int]) -> dict[str, object]:
    return {
        "username": row.cells["username"],
        "password_hash": row.cells["password_hash"],
        "role": str(row.cells["role"]),
        "parent_id": ancestors[-1],
        "ancestors": ancestors,
        "commission_bp": row.get("commission_bp", int) or 0,
        **{name: row.get(name, str) for name in ("full_name", "phone", "address")},
    }


def _add_what_they_have(session: Session, newcomers: Collection[_Newcomer], outcome: Outcome) -> None:
    """Wallets with their opening balances, accounts, commission rates, and an audit row for each."""
    if not newcomers:
        return
    for new in newcomers:
        outcome.people[new.role] = outcome.people.get(new.role, 0) + 1
    wallets = [{"user_id": n.id, "balance": n.balance, "credit_limit": n.credit_limit} for n in newcomers]
    session.execute(_bulk(Wallet), wallets)
    session.execute(_bulk(Account), [{"kind": "wallet", "user_id": new.id} for new in newcomers])
    rates = [{"user_id": n.id, "bp": n.commission_bp, "ancestors": n.ancestors} for n in newcomers]
    session.execute(_bulk(CommissionRate), rates)
    session.execute(_bulk(AuditRow), [_audit_values(new) for new in newcomers])
    balances = {new.id: new.balance for new in newcomers if new.balance}
    outcome.balances = sum(balances.values())
    if balances:
        ledger.post(session, "opening", balances, {"opening": -outcome.balances}, note="balances moved in")
    # Only an agent sells: only his credit is the gate's affair.
    credit = {n.id: total for n in newcomers if n.role is Role.AGENT and (total := n.balance + n.credit_limit)}
    if credit:
        loosen(session, credit, "opening")


def _audit_values(new: _Newcomer) -> dict[str, object]:
    after = {
        "username": new.row.cells["username"],
        "role": str(new.role),
        "parent_id": new.ancestors[-1],
        "commission_bp": new.commission_bp,
        "credit_limit": new.credit_limit,
        "balance": new.balance,
    }
    deed = {"action": "user.create", "object": f"user:{new.id}", "after": after, "outcome": "done"}
    return origin()._asdict() | deed


def _add_winners(session: Session, files: OldFiles, ids: Mapping[str, int], code_key: bytes, outcome: Outcome) -> None:
    if files.winners is None or not files.winners.rows:
        return
    values = [
        {
            "number": row.cells["number"],
            "code_digest": old_code_digest(code_key, str(row.cells["number"]), str(row.cells["code"])),
            "agent_id": ids[str(row.cells["agent"])],
            "prize": row.cells["prize"],
            "claim_until": row.cells["claim_until"],
            "note": row.get("note", str),
        }
        for row in files.winners.rows
    ]
    session.execute(_bulk(OldWinner), values)
    outcome.winners = len(values)
    outcome.prizes = sum(row.get("prize", int) or 0 for row in files.winners.rows)
    owed = {"prizes_owed": outcome.prizes, "opening": -outcome.prizes}
    ledger.post(session, "opening", {}, owed, note="unpaid winners moved in")
