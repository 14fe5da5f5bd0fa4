"""Incidents that lotteries had between the last sale and the last prize (docs/incidents.md lists them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from actions import claim_decisions, corrections, results
from actions.annulled import annulled_in
from actions.books import check
from actions.dead_letters import replay
from actions.proofs import inclusion_proof, stored_leaves
from actions.sealed import AlteredAfterSeal
from actions.stored_tickets import as_tickets
from actions.verify import verify
from cli.main import main
from models.settlement import Seal
from models.sums import kept_sums
from models.tickets import ticket_by_serial
from rules.errors import NotSealed, NotSettled, OnHold
from rules.merkle import leaf_hash
from rules.tickets import ticket_code, ticket_number
from tasks.check_pool import check_draw
from tasks.seal import seal
from tasks.settle import OutOfBalance, settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import (
    Journal,
    as_owner,
    decide,
    drain,
    failures,
    later,
    ledger,
    read_draw,
    resulted,
    rewrite_journal,
    sealed,
    status,
)
from tests.integration.conftest import Lottery
from tests.integration.counters import PAYEE, WINS, House, books_are_right, refused

LOSES = "s999:10"

# A ticket like the first one, on the number that was drawn, and every sum as if it had been sold.
ADDED = (
    "INSERT INTO tickets SELECT draw_date, draw_id, 3, gen_random_uuid(), agent_id, accepted_at, stake, available"
    " FROM tickets WHERE serial = 1",
    "INSERT INTO ticket_lines SELECT draw_date, draw_id, 3, 1, 'straight', '046', 1000 FROM tickets WHERE serial = 1",
    "UPDATE positions SET tickets = tickets + 1, stake = stake + 1000",
    "UPDATE agent_sums SET tickets = tickets + 1, stake = stake + 1000",
    "INSERT INTO exposures SELECT draw_id, 'straight', '046', 1000 FROM positions",
)
WITHOUT_IT = (
    "DELETE FROM ticket_lines WHERE serial = 3",
    "DELETE FROM tickets WHERE serial = 3",
    "UPDATE positions SET tickets = tickets - 1, stake = stake - 1000",
    "UPDATE agent_sums SET tickets = tickets - 1, stake = stake - 1000",
    "DELETE FROM exposures WHERE play = 'straight' AND key = '046'",
)


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


def by_hand(house: House, statements: Sequence[str]) -> None:
    with as_owner(house.res) as owner:
        for statement in statements:
            owner.execute(statement)


def enter(house: House, number: str = "046") -> None:
    """Two persons enter the number once it is drawn."""
    house.res = later(house.lottery.res)
    row = read_draw(house.res, house.draw)
    results.enter(house.res, house.admin, house.draw, number, row.date, row.time)
    results.confirm(house.res, house.other_admin, house.draw, number, row.date, row.time)


# ── winners refused because their tickets never reached the database ────────────────────────────────────────


def test_winners_are_not_refused_because_the_database_refused_their_tickets(house: House) -> None:
    """A terminal printed the ticket and the central system did not have it: its holder won, and was turned away."""
    winner, _ = house.sell(WINS), house.sell(LOSES)
    by_hand(house, ["ALTER TABLE ticket_lines ADD CONSTRAINT not_046 CHECK (number <> '046')"])
    drain(house.lottery, house.draw)
    with pytest.raises(NotSealed):
        _sealed_and_entered(house)
    refused(house, winner, NotSettled)  # known, and not "not a winner"
    assert verify(house.res, winner["number"], winner["code"])["valid"]
    by_hand(house, ["ALTER TABLE ticket_lines DROP CONSTRAINT not_046"])
    with house.res.sessions() as session:
        letter = session.execute(text("SELECT id FROM dead_letters")).scalar_one()
    assert replay(house.lottery.res, letter).replayed
    _sealed_and_entered(house)
    assert settle(house.res, house.draw)
    assert house.claim(house.seller, winner)[1]["paid"] == 450_000
    books_are_right(house.res)


def test_winners_are_not_refused_because_the_database_lost_their_tickets(house: House) -> None:
    """The same for a ticket that was stored and is gone: in the journal, and not in PostgreSQL."""
    winner, _ = house.sell(WINS), house.sell(LOSES)
    drain(house.lottery, house.draw)
    tables = ("tickets", "ticket_lines")
    by_hand(house, [f"CREATE TABLE kept_{name} AS SELECT * FROM {name} WHERE serial = 1" for name in tables])
    by_hand(house, [f"DELETE FROM {name} WHERE serial = 1" for name in tables])
    with pytest.raises(NotSealed):
        _sealed_and_entered(house)
    assert [item["serial"] for item in failures(house.res)[-1]["serials"]] == [1]
    refused(house, winner, NotSettled)
    by_hand(house, [f"INSERT INTO {name} SELECT * FROM kept_{name}" for name in tables])
    _sealed_and_entered(house)
    assert settle(house.res, house.draw)
    assert house.claim(house.seller, winner)[1]["paid"] == 450_000


def _sealed_and_entered(house: House) -> None:
    seal(house.lottery.res, house.draw, force=True)
    enter(house)


# ── pool data altered after closing ─────────────────────────────────────────────────────────────────────────


def _in_the_database(house: House) -> None:
    by_hand(house, ["UPDATE ticket_lines SET number = '046' WHERE serial = 1"])


def _in_the_journal(house: House) -> None:
    def change(records: Journal) -> Journal:
        return [(place, raw.replace(b"s999:", b"s046:") if place == b"1-0" else raw) for place, raw in records]

    rewrite_journal(house.res, house.draw, change)


@pytest.mark.parametrize("alter", [_in_the_database, _in_the_journal])
def test_pool_data_altered_after_closing(house: House, alter: Any) -> None:
    """After the sales had ended somebody wrote the number that he hoped for, or knew, over a ticket of his."""
    for _ in range(3):
        house.sell(LOSES)
    drain(house.lottery, house.draw)
    alter(house)
    assert not seal(house.res, house.draw)
    (found,) = failures(house.res)[-1]["serials"]
    assert (found["serial"], found["journal"] == found["database"]) == (1, False)
    with pytest.raises(NotSealed):
        enter(house)


def test_pool_data_altered_after_closing_in_both_places_alike(house: House) -> None:
    """The same by somebody who reaches both stores: the sums of the sales do not follow, and the draw is not sealed."""
    for _ in range(3):
        house.sell(LOSES)
    drain(house.lottery, house.draw)
    _in_the_database(house)
    _in_the_journal(house)
    assert not seal(house.res, house.draw)
    found = failures(house.res)[-1]
    assert (found["failed"], found["bets"]) == (["bets"], [["straight", "046"], ["straight", "999"]])


VOID_OF_2 = (
    "INSERT INTO voids SELECT draw_id, 2, 1, 'void', 2, id, agent_id, stake, now(), '' FROM tickets WHERE serial = 2"
)


@pytest.mark.parametrize(
    ("sold", "change", "told_at_once"),
    [
        (LOSES, "UPDATE ticket_lines SET number = '046' WHERE serial = 2", True),
        (LOSES, "UPDATE tickets SET agent_id = agent_id + 1 WHERE serial = 2", False),
        (LOSES, VOID_OF_2, False),
        (WINS, "UPDATE ticket_lines SET number = '640' WHERE serial = 2", True),
        (WINS, "UPDATE ticket_lines SET stake = stake + 100 WHERE serial = 2", True),
        (WINS, VOID_OF_2, True),
        (WINS, "UPDATE tickets SET agent_id = agent_id + 1 WHERE serial = 2", True),
    ],
)
def test_pool_data_altered_after_the_seal(house: House, sold: str, change: str, told_at_once: bool) -> None:
    """The same after the root was published: whoever settles the draw, verifies the ticket or looks, is told.

    What stands on the winning bets does not follow, and the draw is not settled. Where it does, or nothing of the kind
    was changed, what is settled is right but for that ticket, on which nothing is paid; and all tickets are checked
    afterwards.
    """
    receipt = [house.sell(sold) for _ in range(3)][1]
    sealed(house.lottery, house.draw)
    assert (exit_code := check_seal(house).exit_code) == 0, exit_code
    by_hand(house, [change])
    enter(house)
    if told_at_once:
        with pytest.raises(OutOfBalance, match=r"the stakes on|sold nothing"):
            settle(house.res, house.draw)
    else:
        assert settle(house.res, house.draw)
        with pytest.raises(AlteredAfterSeal):
            check_draw(house.res, house.draw)
    answer = verify(house.res, receipt["number"], receipt["code"])
    assert not answer["valid"] or answer["inclusion_proof"] is None
    told = check_seal(house)
    assert (told.exit_code, "differ from serial 1 on" in told.output) == (1, True)


def test_a_proof_leads_to_the_published_root_or_is_not_given(house: House) -> None:
    """Somebody who makes the stored blocks fit an altered ticket cannot make the root fit."""
    receipt = house.sell(LOSES)
    sealed(house.lottery, house.draw)
    assert verify(house.res, receipt["number"], receipt["code"])["inclusion_proof"]
    by_hand(house, ["UPDATE tickets SET accepted_at = accepted_at + interval '1 ms'"])
    draw = read_draw(house.res, house.draw)
    with house.res.sessions() as session:
        (leaf,) = stored_leaves(session, draw, [], {}, annulled_in(session, draw.id))
    by_hand(house, [f"UPDATE seal_blocks SET hash = '\\x{leaf_hash(leaf.text).hex()}'"])
    with house.res.sessions() as session:
        assert inclusion_proof(session, draw, 1) is None


def check_seal(house: House) -> Result:
    settings = house.res.settings
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "VAR": str(settings.var_dir)}
    return CliRunner().invoke(main, ["draws", "check-seal", house.draw], env=urls)


# ── a winner added after the result was known ───────────────────────────────────────────────────────────────


def test_a_winning_ticket_added_after_the_result_was_known(house: House) -> None:
    """Somebody at the central system put a ticket on the drawn number among those that had been sold."""
    loser, winner = house.sell(LOSES), house.sell("s640:10", "r046:5")
    house.res = resulted(house.lottery, house.draw, "046")
    by_hand(house, ADDED)
    with pytest.raises(OutOfBalance, match="the draw's sums"):
        settle(house.res, house.draw)
    with house.res.sessions() as session:  # and what the seal keeps of the sums as well
        changed = kept_sums(session, read_draw(house.res, house.draw).id).digest().hex()
        right = session.scalars(select(Seal.sums_hash)).one().hex()
    by_hand(house, [f"UPDATE seals SET sums_hash = '\\x{changed}'"])
    assert settle(house.res, house.draw)
    for _ in range(2):
        with pytest.raises(AlteredAfterSeal, match="sealed were 2"):
            check_draw(house.res, house.draw)
    refused(house, _as_printed(house, 3), OnHold)
    by_hand(house, [*WITHOUT_IT, f"UPDATE seals SET sums_hash = '\\x{right}'"])
    _corrected(house)
    assert check_draw(house.res, house.draw)
    assert not check_draw(house.res, house.draw), "once for each version of the result"
    assert house.claim(house.seller, winner)[1]["paid"] == 37_500
    assert verify(house.res, loser["number"], loser["code"])["prize"] == 0
    books_are_right(house.res)


def _corrected(house: House) -> None:
    """What was listed for the ticket goes when the draw is settled anew, with the same number."""
    row = read_draw(house.res, house.draw)
    for step, who in ((corrections.ask, house.admin), (corrections.confirm, house.other_admin)):
        step(house.res, who, house.draw, "046", row.date, row.time, "a ticket that was never sold")
    assert settle(house.res, house.draw)


def test_a_ticket_added_to_a_sealed_draw_that_is_voided(house: House) -> None:
    """The same where stakes go back instead of prizes: nobody gets money back for what was never sold."""
    house.sell(LOSES)
    house.sell("s640:10")
    sealed(house.lottery, house.draw)
    by_hand(house, ADDED)
    decide(house.lottery, house.draw)
    with pytest.raises(AlteredAfterSeal):
        void_draw(house.res, house.draw)
    assert status(house.res, house.draw) == "voiding"
    by_hand(house, WITHOUT_IT)
    assert void_draw(house.res, house.draw)
    books_are_right(house.res)


@pytest.mark.parametrize(
    ("serial", "statements"),
    [
        pytest.param(1, (), id="a-loser"),
        pytest.param(1, ("UPDATE ticket_lines SET number = '046' WHERE serial = 1",), id="a-loser-altered"),
        pytest.param(3, ADDED, id="a-ticket-added"),
    ],
)
def test_a_winner_added_after_the_settlement(house: House, serial: int, statements: Sequence[str]) -> None:
    """Somebody wrote a winner into the list of those to be paid, to a losing ticket, an altered or a new one."""
    house.sell(LOSES)
    winner = house.sell("r640:5")
    house.settle()
    by_hand(house, [*statements, *_listed(serial, 1000)])
    before = ledger(house.res)
    refused(house, _as_printed(house, serial), OnHold)
    assert ledger(house.res) == before
    with house.res.sessions() as session:
        assert check(session) != []
    if serial == 1 and statements:  # until it is mended nobody can say which of the tickets around it are true
        refused(house, winner, OnHold)
        by_hand(house, ["UPDATE ticket_lines SET number = '999' WHERE serial = 1"])
    assert house.claim(house.seller, winner)[1]["paid"] == 37_500


def test_a_high_winner_added_after_the_settlement_is_not_approved(house: House) -> None:
    """The same for a prize that another person has to approve."""
    loser = house.sell("s999:30")
    house.settle()
    by_hand(house, _listed(1, 3000))
    claim_id = house.claim(house.seller, loser, PAYEE)[1]["claim_id"]
    with pytest.raises(OnHold):
        claim_decisions.approve(house.res, house.admin, claim_id)
    assert house.payout(loser).paid == 0  # type: ignore[union-attr]


def _listed(serial: int, stake: int) -> list[str]:
    """The ticket among the winners, straight on 046."""
    return [
        f"INSERT INTO winners SELECT draw_id, 1, {serial}, 1, agent_id, 'straight', '046', {stake}, {stake} * 450"
        " FROM tickets WHERE serial = 1"
    ]


def _as_printed(house: House, serial: int) -> dict[str, Any]:
    """The receipt of what is stored now, made by somebody who has the key of the codes, too."""
    draw = read_draw(house.res, house.draw)
    with house.res.sessions() as session:
        stored = ticket_by_serial(session, draw.id, draw.date, serial)
        assert stored is not None
        (ticket,) = as_tickets(session, {draw.id: draw}, [stored])
    return {"number": ticket_number(draw.name, serial), "code": ticket_code(house.res.settings.code_key, ticket)}
