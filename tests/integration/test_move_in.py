"""Moving in from an older system: all or nothing, balanced, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from actions import move_in as moving
from actions.books import check
from actions.credit import push_outbox
from actions.move_in import Outcome, move_in
from actions.moving_files import read_files
from actions.reconcile import reconcile
from actions.users import FIRST_USERNAME, ensure_superadmin
from models.claims import OldWinner
from models.ledger import Posting, balances
from models.people import CommissionRate, User, Wallet, user_by_name
from rules.errors import InsufficientCredit
from rules.rights import Role
from rules.tickets import old_code_matches
from tests.integration.conftest import Lottery
from tests.integration.moving import (
    BALANCES,
    PEOPLE,
    WINNERS,
    balances_csv,
    person,
    rows_written,
    users_csv,
    winners_csv,
)


@pytest.fixture
def house(lottery: Lottery) -> Lottery:
    """A lottery with its first superadmin."""
    assert ensure_superadmin(lottery.res.sessions, "first superadmin's words")
    return lottery


@pytest.fixture
def run(house: Lottery, tmp_path: Path) -> Callable[..., Outcome]:
    """Moves in with files of that content."""

    def moved(
        users: str | None = None, balances: str | None = None, winners: str | None = None, *, commit: bool = True
    ) -> Outcome:
        folder = tmp_path / str(threading.get_ident())
        folder.mkdir(exist_ok=True)
        paths = {"users": users, "balances": balances, "winners": winners}
        for name, content in paths.items():
            if content is not None:
                (folder / f"{name}.csv").write_text(content)
        given = {name: folder / f"{name}.csv" if content is not None else None for name, content in paths.items()}
        return move_in(house.res, read_files(**given), commit=commit)

    return moved


def told(outcome: Outcome) -> list[tuple[str, int, str]]:
    return [(Path(finding.file).stem, finding.line, finding.field) for finding in outcome.findings]


def test_people_balances_and_winners_move_in_balanced(house: Lottery, run: Callable[..., Outcome]) -> None:
    outcome = run(PEOPLE, BALANCES, WINNERS)
    assert outcome.findings == []
    assert (outcome.committed, outcome.balances, outcome.winners, outcome.prizes) == (True, 2_060_050, 2, 525_000)
    assert outcome.people == {Role.AGENT: 3, Role.COORDINATOR: 1, Role.ADMIN: 1, Role.OPERATOR: 1}
    first, boss, area, ana = (person(house, name) for name in (FIRST_USERNAME, "boss", "area", "ana"))
    assert (ana.parent_id, ana.ancestors) == (area.id, [first.id, boss.id, area.id])
    assert (ana.full_name, ana.status, ana.must_change_password) == ("Ana Peña", "active", False)
    with house.res.sessions() as session:
        wallet = session.get_one(Wallet, ana.id)
        assert (wallet.balance, wallet.credit_limit, wallet.outbox_seq) == (100_050, 50_000, 1)
        assert dict(balances(session)) == {"wallet": 2_060_050, "opening": -2_585_050, "prizes_owed": 525_000}
        assert session.scalar(select(func.sum(Posting.amount))) == 0
        rate = session.scalars(select(CommissionRate).where(CommissionRate.user_id == ana.id)).one()
        assert (rate.bp, rate.ancestors) == (1_000, ana.ancestors)
        winner = session.get_one(OldWinner, "TKT-0001")
        assert (winner.agent_id, winner.prize, winner.note) == (ana.id, 450_000, "from 14:00")
        assert old_code_matches(house.res.settings.code_key, "TKT-0001", winner.code_digest, "ABCD 1234")
        assert not old_code_matches(house.res.settings.code_key, "TKT-0001", winner.code_digest, "ABCD-1235")


def test_the_books_are_right_after_moving_in(house: Lottery, run: Callable[..., Outcome]) -> None:
    for files in ((PEOPLE, BALANCES, WINNERS), (None, None, winners_csv({"number": "TKT-0003", "agent": "bea"}))):
        assert run(*files).committed
        with house.res.sessions() as session:
            assert check(session) == []


def test_agents_sell_on_what_they_brought_and_not_a_peso_more(house: Lottery, run: Callable[..., Outcome]) -> None:
    assert run(PEOPLE, BALANCES).committed
    assert ("wallets.push", ()) in house.rings.sent
    draw = house.draw()
    bea, cora = person(house, "bea").id, person(house, "cora").id
    assert push_outbox(house.res) == 2
    assert house.sell(draw, bea, "s046:599")["available"] == 100
    for agent, stake in ((bea, 2), (cora, 1)):
        with pytest.raises(InsufficientCredit):
            house.sell(draw, agent, f"s123:{stake}")


def test_a_rebuilt_gate_has_the_same_credit(house: Lottery, run: Callable[..., Outcome]) -> None:
    """The push may come before the rebuild or after it, or twice."""
    assert run(PEOPLE, BALANCES).committed
    house.res.gate._client.flushall()
    assert reconcile(house.res)
    push_outbox(house.res)
    draw = house.draw()
    assert house.sell(draw, person(house, "bea").id, "s046:1")["available"] == 59_900


def test_a_trial_run_finds_what_the_real_one_finds_and_writes_nothing(
    house: Lottery, run: Callable[..., Outcome]
) -> None:
    before = rows_written(house)
    outcome = run(PEOPLE, BALANCES, WINNERS, commit=False)
    assert (outcome.findings, outcome.committed, outcome.winners) == ([], False, 2)
    assert rows_written(house) == before
    assert house.rings.sent == []
    assert run(PEOPLE, BALANCES, WINNERS).committed


def test_a_second_run_is_refused_and_changes_nothing(house: Lottery, run: Callable[..., Outcome]) -> None:
    assert run(PEOPLE, BALANCES, WINNERS).committed
    before = rows_written(house)
    again = run(PEOPLE, BALANCES, WINNERS)
    assert not again.committed
    assert told(again) == [
        *(("users", line, "username") for line in range(2, 8)),
        *(("winners", line, "number") for line in (2, 3)),
    ]
    assert told(run(winners=WINNERS)) == [("winners", 2, "number"), ("winners", 3, "number")]
    assert rows_written(house) == before


def test_one_fault_anywhere_keeps_everything_out(house: Lottery, run: Callable[..., Outcome]) -> None:
    before = rows_written(house)
    late = winners_csv({"number": "A", "agent": "ana"}, {"number": "B", "agent": "ana", "claim_until": "2020-01-01"})
    assert told(run(PEOPLE, BALANCES, late)) == [("winners", 3, "claim_until")]
    assert rows_written(house) == before


def test_every_fault_of_every_file_is_told_at_once(run: Callable[..., Outcome]) -> None:
    users = PEOPLE + users_csv({"username": "dora", "parent": "nobody"}).split("\n")[1] + "\n"
    money = balances_csv(ana="-500.01", bea="1", eyes="1.00", superadmin="5.00", gus="1.00")
    money += "ANA,1.00\n"
    winners = winners_csv(
        {"number": "A", "agent": "area"},
        {"number": "B", "agent": "nobody"},
        {"number": "a", "agent": "ana"},
        {"number": "C", "agent": "superadmin"},
        {"number": "D", "agent": "ana", "prize": "0.00", "code": "1"},
    )
    assert told(run(users, money, winners)) == [
        ("users", 8, "parent"),
        ("balances", 2, "balance"),
        ("balances", 3, "balance"),
        ("balances", 4, "balance"),
        ("balances", 5, "username"),
        ("balances", 6, "username"),
        ("balances", 7, "username"),
        ("winners", 2, "agent"),
        ("winners", 3, "agent"),
        ("winners", 4, "number"),
        ("winners", 5, "agent"),
        ("winners", 6, "code"),
        ("winners", 6, "prize"),
    ]


def test_a_users_file_that_cannot_be_read_is_not_told_once_more_for_each_balance(run: Callable[..., Outcome]) -> None:
    assert told(run(PEOPLE.replace("username,role", "name,role"), BALANCES, WINNERS)) == [("users", 1, "")] * 2


def test_sums_beyond_every_column_are_found(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actions.moving_checks.TOTAL_MAX", 200_000)
    winners = winners_csv({"number": "A", "agent": "cora"})
    assert told(run(PEOPLE, balances_csv(ana="2000.00", bea="-0.01"), winners)) == [
        ("balances", 0, "balance"),
        ("winners", 0, "prize"),
    ]


def test_later_winners_and_people_join_those_who_are_here(house: Lottery, run: Callable[..., Outcome]) -> None:
    assert run(PEOPLE, BALANCES, WINNERS).committed
    late = users_csv(
        {"username": "dora", "parent": "area"}, {"username": "gus", "role": "coordinator", "parent": "area"}
    )
    winners = winners_csv({"number": "TKT-0003", "agent": "ana"}, {"number": "TKT-0004", "agent": "dora"})
    assert run(late, balances_csv(gus="0.00"), winners).committed
    assert person(house, "dora").ancestors == person(house, "ana").ancestors
    with house.res.sessions() as session:
        assert dict(balances(session))["prizes_owed"] == 1_425_000


def test_files_without_rows_change_nothing_but_the_audit_log(house: Lottery, run: Callable[..., Outcome]) -> None:
    before = rows_written(house)
    assert run(users_csv(), balances_csv(), winners_csv()).committed
    assert rows_written(house) == (*before[:-1], before[-1] + 1)


def test_nobody_moves_in_below_somebody_suspended(house: Lottery, run: Callable[..., Outcome]) -> None:
    assert run(PEOPLE).committed
    with house.res.sessions.begin() as session:
        session.execute(text("UPDATE users SET status = 'suspended' WHERE username = 'area'"))
    below = [{"username": "sub", "role": "coordinator", "parent": "area"}, {"username": "dora", "parent": "boss"}]
    assert told(run(users_csv(*below))) == [("users", 2, "parent")]


def test_a_suspension_waits_for_who_moves_in_below(
    house: Lottery, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It then finds them below, and stops their sales in the gate as everybody's."""
    assert run(PEOPLE).committed
    checked, waited = threading.Event(), threading.Event()
    whole = moving.check_tree

    def pause(*arguments: object) -> None:
        whole(*arguments)  # type: ignore[arg-type]
        checked.set()
        assert waited.wait(20)

    monkeypatch.setattr(moving, "check_tree", pause)
    seen: list[int] = []

    def suspend() -> None:
        assert checked.wait(20)
        with house.res.sessions.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '300ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                session.execute(text("UPDATE users SET status = 'suspended' WHERE username = 'boss'"))
            session.rollback()
        waited.set()
        with house.res.sessions.begin() as session:
            session.execute(text("UPDATE users SET status = 'suspended' WHERE username = 'area'"))
            below = session.scalars(select(User.id).where(User.ancestors.contains([person(house, "area").id])))
            seen.extend(below)

    other = threading.Thread(target=suspend)
    other.start()
    assert run(users_csv({"username": "dora", "parent": "area"})).committed
    other.join(20)
    assert person(house, "dora").id in seen


def test_of_many_runs_at_once_one_moves_in(house: Lottery, run: Callable[..., Outcome]) -> None:
    outcomes: list[Outcome] = []
    start = threading.Barrier(6)

    def one() -> None:
        start.wait()
        outcomes.append(run(PEOPLE, BALANCES, WINNERS))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.committed for outcome in outcomes) == [False] * 5 + [True]
    with house.res.sessions() as session:
        assert dict(balances(session)) == {"wallet": 2_060_050, "opening": -2_585_050, "prizes_owed": 525_000}


def test_a_name_taken_between_look_and_insert_is_found(
    house: Lottery, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    look, before = moving._already_here, rows_written(house)

    def taken_after_the_look(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        with house.res.sessions.begin() as session:
            if user_by_name(session, "cora") is None:
                session.add(User(username="cora", password_hash="x", role="superadmin", ancestors=[]))
        return found

    monkeypatch.setattr(moving, "_already_here", taken_after_the_look)
    outcome = run(PEOPLE, BALANCES, WINNERS)
    assert ("users", 4, "username") in told(outcome)
    assert not outcome.committed
    assert rows_written(house) == (before[0] + 1, *before[1:])


@pytest.mark.parametrize("step", ["_add_people", "_add_what_they_have", "_add_winners", "record"])
def test_a_death_at_any_step_leaves_nothing_behind(
    house: Lottery, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before, whole = rows_written(house), getattr(moving, step)

    def dies(*arguments: object, **named: object) -> None:
        whole(*arguments, **named)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(moving, step, dies)
        with pytest.raises(SystemExit):
            run(PEOPLE, BALANCES, WINNERS)
    assert rows_written(house) == before
    assert run(PEOPLE, BALANCES, WINNERS).committed


@pytest.mark.slow
def test_a_large_lottery_moves_in(house: Lottery, run: Callable[..., Outcome]) -> None:
    """More names than a statement has parameters, more outbox rows than one push takes."""
    count = 66_000
    users = users_csv(*({"username": f"agent{number}"} for number in range(count)))
    money = balances_csv(**{f"agent{number}": "1.00" for number in range(count)})
    winners = winners_csv(*({"number": f"T{number}", "agent": f"agent{number}"} for number in range(count)))
    outcome = run(users, money, winners)
    assert (outcome.committed, outcome.people, outcome.winners) == (True, {Role.AGENT: count}, count)
    assert len(told(run(users, money, winners))) == 2 * count
    with house.res.sessions() as session:
        assert dict(balances(session))["wallet"] == count * 100
    pushed = 0
    for _ in range(3):
        pushed += push_outbox(house.res)
    assert pushed == 3_000


def test_rates_that_earn_more_than_a_sale_may_are_found(house: Lottery, run: Callable[..., Outcome]) -> None:
    outcome = run(
        users_csv(
            {"username": "area", "role": "coordinator", "commission_bp": "1500"},
            {"username": "ana", "parent": "area", "commission_bp": "600"},
            {"username": "bea", "parent": "area", "commission_bp": "500"},
        )
    )
    assert told(outcome) == [("users", 3, "commission_bp")]
    assert rows_written(house)[0] == 1
