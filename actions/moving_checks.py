"""What is wrong with the balances and winners of an older system, beside what each cell tells by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from actions.csv_rows import Row
from actions.moving_files import OldFiles
from actions.moving_tree import Standing
from rules.rights import Role

# Far from where a sum of centavos would leave a bigint, far above what any lottery owes.
TOTAL_MAX = 10**17


def check_balances(files: OldFiles, named: Mapping[str, Row]) -> None:
    """Finds balances of nobody who moves in, second ones, and debts beyond a credit limit.

    Only who moves in has an opening balance: a second run cannot book it again.
    """
    table = files.balances
    if table is None:
        return
    first: dict[str, int] = {}
    total = 0
    for row in table.rows:
        name, balance = row.get("username", str), row.get("balance", int) or 0
        total += abs(balance)
        if name is None:
            continue
        if first.setdefault(name, row.line) != row.line:
            table.find(row.line, "username", f"{name} is in line {first[name]} already")
        elif name in named:
            limit = named[name].get("credit_limit", int) or 0
            if balance and named[name].get("role", Role) is Role.OPERATOR:
                table.find(row.line, "balance", "an operator has no credit")
            elif balance + limit < 0:
                table.find(row.line, "balance", f"{name} owes more than his credit_limit covers")
        elif files.names_everybody():
            table.find(row.line, "username", f"{name} is not in the users file: only who moves in has a balance")
    if total > TOTAL_MAX:
        table.find(0, "balance", "the sum is beyond any lottery's")


def check_winners(
    files: OldFiles, named: Mapping[str, Row], here: Mapping[str, Standing], stored: Collection[str], now: datetime
) -> None:
    """Finds numbers that are here (`stored`) or there twice, prizes that nobody can claim, and agents who are none."""
    table = files.winners
    if table is None:
        return
    first: dict[str, int] = {}
    total = 0
    for row in table.rows:
        number, agent, until = row.get("number", str), row.get("agent", str), row.get("claim_until", datetime)
        total += row.get("prize", int) or 0
        if number is not None and first.setdefault(number, row.line) != row.line:
            table.find(row.line, "number", f"{number} is in line {first[number]} already")
        if number in stored:
            table.find(row.line, "number", f"{number} has moved in already")
        if until is not None and until <= now:
            table.find(row.line, "claim_until", "is over: nobody can claim this prize")
        if agent is None:
            continue
        if agent in here or agent in named:
            role = here[agent].role if agent in here else named[agent].get("role", Role)
            if role not in (Role.AGENT, None):
                table.find(row.line, "agent", f"{agent} is no agent, but has the role {role}")
        elif files.names_everybody():
            table.find(row.line, "agent", f"there is no user {agent}, neither in the users file nor here")
    if total > TOTAL_MAX:
        table.find(0, "prize", "the sum is beyond any lottery's")
