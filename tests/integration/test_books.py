"""The check of the books: silent over a whole day of everything, and loud about each single thing that is off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.orm import Session

from actions import claim_decisions, credit
from actions.books import check
from actions.void import void
from cli.main import main
from models.balance_sheet import SHAPES
from models.people import CommissionRate
from models.session import make_sessions
from tasks.claims import expire_claims
from tasks.persist import persist
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.conftest import Database
from tests.integration.after_sales import as_owner, decide, drain, ledger, resulted, time_to_claim_over
from tests.integration.conftest import Lottery
from tests.integration.counters import PAYEE, House, books_are_right, moved_in, old_winners_are_over, outcomes


def full_day(lottery: Lottery) -> House:
    """Sales, voids, a refund, commissions, claims (taxed, of an older system, in error), expired prizes."""
    house = House(lottery)
    with lottery.res.sessions.begin() as session:
        for user, bp in ((house.seller, 800), (house.coordinator, 150)):
            above = [house.superadmin, house.admin, house.coordinator][: 3 if user == house.seller else 2]
            session.add(CommissionRate(user_id=user, bp=bp, ancestors=above))
    gone = house.sell("s046:50")
    void(lottery.res, house.seller, gone["number"], "wrong number")
    wrong, high, rest = house.sell("s046:10"), house.sell("s046:50", "s064:50"), house.sell("s064:2", "r046:1")
    house.sell("s999:5")
    house.settle("046")
    assert house.claim(house.clerk, wrong)[0] == 200
    assert house.claim(house.admin, rest)[0] == 200
    house.correct("064")
    old = moved_in(lottery, house.clerk, prize=300_000)
    moved_in(lottery, house.clerk, number="OLD-2", prize=70_000)
    assert house.claim(house.clerk, {"number": old.number, "code": "QX7"})[0] == 200
    assert house.claim(house.clerk, rest)[0] == 200
    assert house.claim(house.clerk, high, PAYEE)[0] == 202
    refunded = lottery.draw(minute=lottery.next_minute())
    lottery.sell(refunded, house.seller, "s046:7")
    drain(lottery, refunded)
    decide(lottery, refunded)
    assert void_draw(lottery.res, refunded)
    selling = lottery.draw(minute=lottery.next_minute())
    lottery.sell(selling, house.seller, "s046:7")
    persist(lottery.res, selling)
    expired = lottery.draw(minute=lottery.next_minute())
    lottery.sell(expired, house.seller, "s046:1")
    assert settle(resulted(lottery, expired, "046"), expired)
    old_winners_are_over(house)
    assert expire_claims(time_to_claim_over(house.res)) == 70_000 + 45_000
    return house


# Each change, and a piece of the sentence that tells of it.
CHANGES = {
    "UPDATE postings SET amount = amount + 1 WHERE account_id = (SELECT id FROM accounts WHERE kind = 'cash')": (
        "sum to 1 instead of 0"
    ),
    "DELETE FROM postings WHERE entry_id = (SELECT max(id) FROM entries)": "instead of 0",
    "UPDATE wallets SET balance = balance + 1": "its balance is",
    "UPDATE postings SET account_id = (SELECT id FROM accounts WHERE kind = 'corrections')"
    " WHERE account_id = (SELECT id FROM accounts WHERE kind = 'unclaimed')": "has no posting on corrections",
    "UPDATE tickets SET stake = stake + 100 WHERE serial = 1": "has the stake",
    "UPDATE ticket_lines SET stake = stake + 100 WHERE serial = 2 AND line_no = 1": "its lines",
    "DELETE FROM voids": "by the tickets",
    "UPDATE voids SET agent_id = agent_id, stake = stake - 100 WHERE stake > 0": "sales are",
    "UPDATE draws SET status = 'void', voided_at = now(), voiding_at = now() WHERE status = 'open'": "sales are",
    "UPDATE winners SET prize = prize + 1 WHERE version = 2": "winning lines are missing",
    "DELETE FROM winners WHERE version = 2 AND line_no = 2": "2 winning lines are missing in version 2, 0 too many",
    "UPDATE ticket_lines SET number = '640' WHERE number = '064' AND play = 'straight'": "0 winning lines are missing",
    "UPDATE results SET number = '731' WHERE version = 2": "too many",
    "UPDATE payouts SET paid = paid + 1 WHERE paid > 0": "prizes_owed is",
    "UPDATE payouts SET paid = 0, tax = 0": "its claims say",
    "UPDATE payouts SET expired = expired + 1 WHERE expired > 0": "unclaimed is",
    "UPDATE payouts SET tax = tax + 1 WHERE paid > 0": "tax_withheld is",
    "UPDATE claims SET prize = prize + 1": "and its entry in the books differ",
    "UPDATE claims SET entry_id = (SELECT max(entry_id) FROM claims) WHERE status = 'paid'": "but no claim says so",
    "UPDATE old_winners SET prize = prize + 1": "the opening entries say",
    "UPDATE old_winners SET prize = prize + 2": "old winners: prizes_owed is",
    "UPDATE commission_rates SET bp = bp + 100": "the commission of user",
    "UPDATE users SET role = 'admin' WHERE role = 'coordinator'": "and should be 0",
    "UPDATE entries SET draw_id = NULL WHERE kind = 'prizes'": "old winners: prizes is",
    "UPDATE entries SET kind = 'load' WHERE kind = 'refund'": "a load has no posting on sales",
}


@pytest.fixture
def day(lottery: Lottery) -> House:
    return full_day(lottery)


@pytest.fixture
def as_tables_owner(lottery: Lottery) -> Iterator[Session]:
    """A session that may change everything, and is rolled back."""
    url = lottery.res.settings.owner_database_url
    assert url is not None
    sessions = make_sessions(url, pool_size=1)
    with sessions() as session:
        yield session
    sessions.kw["bind"].dispose()


def test_a_day_of_everything_is_right_and_each_change_is_told(day: House, as_tables_owner: Session) -> None:
    session = as_tables_owner
    books_are_right(day.res)
    assert day.account("unclaimed") > 0
    assert day.account("paid_in_error") < 0
    for change, said in CHANGES.items():
        session.execute(text(change))
        differences = check(session)
        assert any(said in difference for difference in differences), (change, differences)
        session.rollback()
        session.expunge_all()
    assert check(session) == []


def test_winners_that_a_settlement_overlooked_are_told(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check does not find winning lines by the settlement's way."""
    house = House(lottery)
    house.sell("s046:10", "r640:1", "s640:1")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.settle.winning_bets", lambda game, number: [("straight", (number,))])
        house.settle("046")
    with house.res.sessions() as session:
        assert check(session) == [
            f"draw {house.draw}: 1 winning lines are missing in version 1, 0 too many",
        ]


def test_the_example_day_of_the_documentation(lottery: Lottery) -> None:
    """The figures of docs/books.md, in centavos."""
    house = House(lottery)
    cora, ana = house.coordinator, lottery.person(parent=house.coordinator)
    with lottery.res.sessions.begin() as session:
        for user, bp, above in ((ana, 800, [house.superadmin, house.admin, cora]), (cora, 150, [house.superadmin])):
            session.add(CommissionRate(user_id=user, bp=bp, ancestors=above))
    began = ledger(lottery.res)["cash"]
    credit.give(lottery.res, house.admin, cora, 500_000, "load", None, "a")
    credit.give(lottery.res, cora, ana, 100_000, "load", None, "b")
    first = lottery.sell(house.draw, ana, "s046:100")
    void(lottery.res, ana, lottery.sell(house.draw, ana, "s064:50")["number"], "wrong number")
    lottery.sell(house.draw, ana, "s064:2")
    house.settle("046")
    assert [house.balance(user) for user in (ana, cora)] == [100_000 - 10_200 + 816, 400_000 + 153]
    _, claim = house.claim(ana, first, PAYEE)
    claim_decisions.approve(house.res, cora, claim["claim_id"])
    house.correct("064")
    evening = ledger(house.res)
    assert [house.balance(user) for user in (ana, cora)] == [3_690_616, 400_153]
    names = ("sales", "commissions", "tax_withheld", "paid_in_error", "prizes_owed", "prizes", "prizes_paid")
    assert [evening[name] for name in names] == [10_200, -969, 900_000, -4_500_000, 90_000, -90_000, 0]
    assert evening["cash"] - began == -500_000
    expire_claims(house.after_claims())
    assert [house.account(name) for name in ("prizes_owed", "prizes", "unclaimed")] == [0, -90_000, 90_000]
    books_are_right(house.res)


def test_nothing_is_wrong_with_empty_books(lottery: Lottery) -> None:
    books_are_right(lottery.res)


def test_every_kind_of_entry_that_the_database_knows_has_its_accounts(lottery: Lottery) -> None:
    with as_owner(lottery.res) as owner:
        found = owner.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname IN"
            " ('entries_kind_check', 'accounts_kind_check') ORDER BY conname"
        ).fetchall()
    accounts, entries = (set(row[0].split("'")[1::2]) for row in found)
    assert set(SHAPES) == entries
    assert {account for shape in SHAPES.values() for account in shape} == accounts


def test_the_books_are_right_at_every_moment_of_a_busy_draw(lottery: Lottery) -> None:
    """Checked on a snapshot again and again while four counters sell and the drain runs."""
    house = House(lottery)

    def sell(i: int) -> list[str]:
        house.sell(f"s{i % 1000:03d}:1")
        persist(lottery.res, house.draw)
        return []

    def look(_: int) -> list[str]:
        with lottery.res.sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return check(session)

    calls = [lambda i=i: look(i) if i % 5 == 0 else sell(i) for i in range(100)]  # type: ignore[misc]
    assert outcomes(calls) == [[]] * 100
    persist(lottery.res, house.draw)
    books_are_right(lottery.res)


def test_the_command_says_each_difference_and_fails(lottery: Lottery, database: Database) -> None:
    house = House(lottery)
    house.winner()
    settings = lottery.res.settings
    environ = {"DATABASE_URL": database.url, "REDIS_URL": settings.redis_url, "VAR": str(settings.var_dir)}
    right = CliRunner().invoke(main, ["books", "check"], env=environ)
    assert (right.exit_code, right.output) == (0, "the books are right\n")
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE wallets SET balance = balance + 1 WHERE user_id = %s", [house.seller])
    wrong = CliRunner().invoke(main, ["books", "check"], env=environ)
    assert wrong.exit_code == 1
    assert wrong.output.startswith(f"wallet of user {house.seller}: its balance is ")
    assert len(wrong.output.splitlines()) == 1
