"""Prizes paid once, wallets exact, books closed: pure, worked out from receipts, results and what was handed out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from demo.crowd import GAME
from demo.money import commissions
from demo.people import Terminal
from faults.book import Entry
from faults.tickets_check import World
from rules.games import prize
from rules.tickets import stake, ticket_number


@dataclass
class Money:
    """What the money is compared with: who there is, what the office gave and took, and what the API shows."""

    terminals: Sequence[Terminal]
    office: Iterable[Entry]
    shown: Mapping[int, tuple[int, int]]  # (balance, available) by user, as each sees it
    settlements: Mapping[str, Mapping[str, int]]  # winners and prizes by draw


def prizes_of(world: World, draw: str, number: str) -> dict[int, int]:
    """What each ticket of the draw wins on that number, by the rules; of the tickets that count."""
    stored = world.stored.draws[draw]
    back = world.taken_back(stored)
    found: dict[int, int] = {}
    for serial, ticket in world.of_draw[draw].items():
        if serial not in back:
            # As the receipt has it, where there is one.
            lines = world.held.tickets.get((draw, serial), ticket).lines
            won = sum(prize(GAME, stored.prizes, b.play, b.number, b.stake, number) for b in lines)
            if won:
                found[serial] = won
    return found


def winners(world: World, money: Money) -> Iterator[str]:
    """Winners and prizes of each version of each result."""
    for draw in world.stored.draws.values():
        for version, number in draw.results.items():
            wanted = prizes_of(world, draw.name, number)
            stored = world.stored.winners.get((draw.name, version), {})
            if wanted != stored:
                odd = sorted(s for s in wanted.keys() | stored.keys() if wanted.get(s) != stored.get(s))
                yield f"{draw.name} version {version}: winners differ at {odd[:10]}"
            if version == max(draw.results):
                shown = money.settlements.get(draw.name)
                if shown != {"winners": len(wanted), "prizes": sum(wanted.values())}:
                    yield f"{draw.name}: the settlement shows {shown}, the receipts give {len(wanted)} winners"


def paid_twice(world: World) -> Iterator[str]:
    """Prizes handed out more than once, or beyond what any result gives."""
    claims = Counter(paid.claim_id for paids in world.held.paid.values() for paid in paids)
    for claim_id, count in claims.items():
        if count > 1:
            yield f"claim {claim_id} was handed out at {count} terminals"
    handed: Counter[str] = Counter()
    for paids in world.held.paid.values():
        for paid in paids:
            handed[paid.number] += paid.prize
    for number, highest in _highest_prizes(world).items():
        if handed[number] > highest:
            yield f"{number}: {handed[number]} was handed out, no result gives more than {highest}"
        del handed[number]
    for number, amount in handed.items():
        yield f"{number}: {amount} was handed out, and it never won"


def _highest_prizes(world: World) -> dict[str, int]:
    """By ticket number: the most that any version of the result gives."""
    found: dict[str, int] = {}
    for draw in world.stored.draws.values():
        for number in draw.results.values():
            for serial, won in prizes_of(world, draw.name, number).items():
                ticket = ticket_number(draw.name, serial)
                found[ticket] = max(found.get(ticket, 0), won)
    return found


def _final_prizes(world: World) -> dict[str, int]:
    """By ticket number: what the last result of each settled draw gives."""
    return {
        ticket_number(draw.name, serial): won
        for draw in world.stored.draws.values()
        if draw.status == "settled"
        for serial, won in prizes_of(world, draw.name, draw.results[max(draw.results)]).items()
    }


def unpaid(world: World) -> Iterator[str]:
    """Winners of the final result that were claimed at two terminals and not paid at either."""
    for draw in world.stored.draws.values():
        if draw.status != "settled":
            continue
        for serial, won in prizes_of(world, draw.name, draw.results[max(draw.results)]).items():
            place = draw.name, serial
            asked = place in world.held.receipts and place not in world.held.voided
            paid, _ = world.stored.payouts.get(ticket_number(*place), (0, 0))
            if asked and paid < won:
                yield f"{place} wins {won} and was paid {paid}"


def claims(world: World, money: Money) -> Iterator[str]:
    """What terminals handed out against the claims, and these against the payouts."""
    users = {terminal.counter.name: terminal.user_id for terminal in money.terminals}
    handed = {
        (paid.claim_id, paid.number, users[name], paid.prize, paid.tax)
        for name, paids in world.held.paid.items()
        for paid in paids
    }
    stored = {(c.id, c.number, c.user_id, c.prize, c.tax) for c in world.stored.claims}
    yield from (f"handed out, and no claim says so: {paid}" for paid in sorted(handed - stored))
    yield from (f"paid by a claim, and not handed out: {paid}" for paid in sorted(stored - handed))
    sums: dict[str, list[int]] = {}
    for claim in world.stored.claims:
        of = sums.setdefault(claim.number, [0, 0])
        of[0] += claim.prize
        of[1] += claim.tax
    for number in sums.keys() | world.stored.payouts.keys():
        found = world.stored.payouts.get(number, (0, 0))
        if tuple(sums.get(number, (0, 0))) != found:
            yield f"{number}: its claims pay {sums.get(number)}, its payout is {found}"


# ── wallets and accounts ──────────────────────────────────────────────────────────────────────────────────


def sold(world: World, statuses: Sequence[str] = ()) -> dict[tuple[str, int], int]:
    """Stakes that count by draw and agent, of draws with these statuses (none given: all but void ones)."""
    found: dict[tuple[str, int], int] = {}
    back = {name: world.taken_back(draw) for name, draw in world.stored.draws.items()}
    for (name, serial), ticket in world.stored.tickets.items():
        status = world.stored.draws[name].status
        counts = status in statuses if statuses else status != "void"
        if counts and serial not in back[name]:
            of = name, ticket.agent_id
            found[of] = found.get(of, 0) + stake(world.held.tickets.get((name, serial), ticket).lines)
    return found


def loads(money: Money) -> dict[int, int]:
    """What the office gave and took by user, as it was answered."""
    found: dict[int, int] = {}
    for entry in money.office:
        if entry.call in ("credit", "debit") and entry.status == 201:
            user_id = int(entry.path.split("/")[3])
            amount = entry.body["amount"] * (1 if entry.call == "credit" else -1)
            found[user_id] = found.get(user_id, 0) + amount
    return found


def wallets(world: World, money: Money) -> Iterator[str]:
    """Wallets that are not, to the centavo, what was loaded, sold, paid and earned."""
    wanted = {t.coordinator_id: 0 for t in money.terminals} | {t.user_id: t.counter.credit for t in money.terminals}
    for (_, agent), amount in sold(world).items():
        wanted[agent] -= amount
    for user_id, amount in loads(money).items():
        wanted[user_id] += amount
    for user_id, amount in commissions(sold(world, ("settled",)), money.terminals).items():
        wanted[user_id] += amount
    for claim in world.stored.claims:
        wanted[claim.user_id] += claim.prize - claim.tax
    for user_id, amount in wanted.items():
        found = {
            "wallet": world.stored.balances.get(user_id, 0),
            "postings": world.stored.posted.get(user_id, 0),
            "shown": money.shown.get(user_id, (amount, amount))[0],
            "available in the gate": money.shown.get(user_id, (amount, amount))[1],
        }
        if set(found.values()) != {amount}:
            yield f"user {user_id} should have {amount}: {found}"


def accounts(world: World, money: Money) -> Iterator[str]:
    """The house's accounts, and the sum of everything."""
    stored = world.stored
    if stored.unbalanced:
        yield f"{stored.unbalanced} entries do not balance"
    total = sum(stored.accounts.values()) + sum(stored.posted.values())
    if total:
        yield f"all postings together are {total}"
    given = sum(t.counter.credit for t in money.terminals) + sum(loads(money).values())
    earned = commissions(sold(world, ("settled",)), money.terminals)
    due = _final_prizes(world)
    paid = {number: (amount, due.get(number, 0)) for number, (amount, _) in stored.payouts.items()}
    wanted = {
        "sales": sum(sold(world).values()),
        "cash": -given,
        "commissions": -sum(earned.values()),
        "prizes_paid": -sum(min(amount, won) for amount, won in paid.values()),
        "paid_in_error": -sum(max(0, amount - won) for amount, won in paid.values()),
        "prizes_owed": sum(max(0, won - paid.get(number, (0, 0))[0]) for number, won in due.items()),
        "tax_withheld": sum(claim.tax for claim in stored.claims),
    }
    for kind, amount in wanted.items():
        if stored.accounts.get(kind, 0) != amount:
            yield f"the account {kind} is {stored.accounts.get(kind, 0)}, and should be {amount}"
