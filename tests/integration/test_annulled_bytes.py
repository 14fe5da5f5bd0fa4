"""What is annulled with more than a ticket: voids that go with it, and bytes that nobody can read."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from actions import seals
from actions.annulling import annul
from actions.tickets import by_id, by_number
from actions.verify import verify
from actions.void import cancel, void
from models.settlement import Seal
from rules.errors import IdCancelled, NotFound, WrongState
from rules.merkle import root
from tasks.seal import seal
from tests.integration.after_sales import (
    failures,
    rewrite_journal,
    status,
)
from tests.integration.conftest import Lottery, new_id
from tests.integration.refusing import (
    BAD,
    WHY,
    Refused,
    annul_all,
    available,
    credit_is_right,
    drained,
    given_back,
    letter_statuses,
    reconcile_anew,
    refuse_300,
)
from tests.integration.test_seal import leaf_of
from tests.integration.test_verify import proven


@pytest.fixture
def refused(lottery: Lottery) -> Refused:
    refuse_300(lottery.res)
    return Refused(lottery)


# ── with a void ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ticket_that_was_voided_goes_with_its_void_and_nothing_more_comes_back(lottery: Lottery) -> None:
    res = lottery.res
    refuse_300(res)
    refused = Refused(lottery, voided=True)
    _, its_void = refused.letters
    with pytest.raises(WrongState, match="goes with the letter of its ticket"):
        annul(res, refused.first, its_void, WHY)
    assert available(res, refused.agent) == 9_800
    refused.annul()
    assert letter_statuses(res) == ["annulled", "annulled"]
    with pytest.raises(WrongState):
        annul(res, refused.first, its_void, WHY)
    assert (given_back(res), available(res, refused.agent)) == ([], 9_800)
    reconcile_anew(res)
    assert (available(res, refused.agent), credit_is_right(res)) == (9_800, True)

    assert seal(res, refused.draw), failures(res)
    body = seals.published(res, refused.draw, full=True)
    assert (body["count"], body["voided"], body["annulled"], body["stake"]) == (3, 1, 0, 200)
    leaves = [leaf_of(receipt, receipt is refused.bad) for receipt in refused.receipts]
    assert body["merkle_root"] == root(leaves).hex()
    # Its terminal was told that it is voided, and that stays so.
    reconcile_anew(res)
    answer = verify(res, refused.bad["number"], refused.bad["code"])
    proven(lottery, refused.draw, answer)
    assert answer["status"] == by_number(res, refused.agent, refused.bad["number"])["status"] == "voided"
    assert refused.differences() == []


def test_a_cancelled_id_stays_dead_when_its_ticket_is_annulled(lottery: Lottery) -> None:
    res, agent, draw, ticket_id = lottery.res, lottery.person(pesos=100), lottery.draw(), new_id()
    refuse_300(res)
    receipt = lottery.sell(draw, agent, BAD, ticket_id=ticket_id)
    void(res, agent, receipt["number"], "typed wrong")
    assert cancel(res, agent, draw, ticket_id) == {"status": "voided"}
    letters = drained(lottery, draw)
    assert len(letters) == 3
    annul_all(lottery, letters[:1])
    assert (letter_statuses(res), given_back(res)) == (["annulled"] * 3, [])
    for _ in range(2):
        assert cancel(res, agent, draw, ticket_id) == {"status": "voided"}
        with pytest.raises(IdCancelled):
            lottery.sell(draw, agent, BAD, ticket_id=ticket_id)
        if status(res, draw) == "closed":
            assert seal(res, draw), failures(res)
        reconcile_anew(res)


# ── bytes that are no record ────────────────────────────────────────────────────────────────────────────────────────


def altered(lottery: Lottery, draw: str, *places: bytes) -> None:
    """As if the disk had given back other bytes for these records."""
    garbage = b"t|\xff\x00garbage"
    rewrite_journal(lottery.res, draw, lambda held: [(p, garbage if p in places else raw) for p, raw in held])


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_ticket_that_nobody_can_read_is_annulled_and_the_draw_seals(lottery: Lottery, rebuilt: bool) -> None:
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    tickets = [lottery.sell(draw, agent, f"s30{i}:1") for i in range(3)]
    altered(lottery, draw, b"2-0")
    (letter,) = drained(lottery, draw)
    annul_all(lottery, [letter])
    assert given_back(res) == [], "nobody can say whose it was"
    if rebuilt:
        reconcile_anew(res)
    assert seal(res, draw), failures(res)
    body = seals.published(res, draw, full=True)
    assert (body["tree_size"], body["count"], body["annulled"], body["stake"]) == (3, 3, 1, 200)
    assert body["restored"] == (3 if rebuilt else 0)
    for receipt in (tickets[0], tickets[2]):
        answer = verify(res, receipt["number"], receipt["code"])
        proven(lottery, draw, answer)
    assert verify(res, tickets[1]["number"], tickets[1]["code"]) == {"valid": False}
    with pytest.raises(NotFound):
        by_id(res, agent, draw, tickets[1]["id"].replace("-", ""))


def test_bytes_that_somebody_else_wrote_are_annulled_and_the_draw_seals(lottery: Lottery) -> None:
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    client = res.gate._client
    client.xadd(f"draw:{draw}:journal", {"r": b"t|\xff\xfe"}, id="2-0")
    client.hset(f"draw:{draw}", "serial", 2)
    lottery.sell(draw, agent)
    annul_all(lottery, drained(lottery, draw))
    assert seal(res, draw), failures(res)
    with res.sessions() as session:
        found = session.scalars(select(Seal)).one()
    assert (found.tickets, found.annulled, found.stake) == (3, 1, 2_000)
    assert credit_is_right(res)


def test_a_ticket_that_nobody_can_read_takes_its_void_along(lottery: Lottery) -> None:
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    number = lottery.sell(draw, agent, "s301:1")["number"]
    void(res, agent, number, "typed wrong")
    lottery.sell(draw, agent, "s302:1")
    altered(lottery, draw, b"1-0")
    letters = drained(lottery, draw)  # both in one batch: the void must not stop the drain
    assert len(letters) == 2
    annul_all(lottery, letters[:1])
    assert (letter_statuses(res), given_back(res)) == (["annulled"] * 2, [])
    assert seal(res, draw), failures(res)
    body = seals.published(res, draw, full=True)
    assert (body["count"], body["voided"], body["annulled"], body["stake"]) == (2, 1, 0, 100)


def test_a_void_that_nobody_can_read_is_annulled_and_its_ticket_counts(lottery: Lottery) -> None:
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    receipt = lottery.sell(draw, agent, "s301:1")
    void(res, agent, receipt["number"], "typed wrong")
    lottery.sell(draw, agent, "s302:1")
    altered(lottery, draw, b"1-1")
    annul_all(lottery, drained(lottery, draw))
    assert seal(res, draw), failures(res)
    body = seals.published(res, draw, full=True)
    assert (body["tree_size"], body["voided"], body["annulled"], body["stake"]) == (2, 0, 0, 200)
    proven(lottery, draw, verify(res, receipt["number"], receipt["code"]))


def test_what_was_annulled_must_be_in_the_journal_as_it_is_in_the_letter(refused: Refused) -> None:
    res, draw = refused.res, refused.draw
    refused.annul()
    kept: list[Any] = []

    def change(held: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept.extend(held)
        return [(p, raw.replace(b"s300", b"s303")) for p, raw in held]

    rewrite_journal(res, draw, change)
    assert not seal(res, draw, force=True)
    assert {"leaves", "roots", "annulled"} <= set(failures(res)[-1]["failed"])
    rewrite_journal(res, draw, lambda _: kept)
    assert seal(res, draw, force=True)


def test_more_than_what_nobody_can_read_does_not_seal(lottery: Lottery) -> None:
    """The marker counts a ticket that neither side has: one unread record stands for one ticket, not for two."""
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    for number in ("s301:1", "s302:1"):
        lottery.sell(draw, agent, number)
    res.gate._client.hincrby(f"draw:{draw}", "tickets", 1)
    altered(lottery, draw, b"2-0")
    annul_all(lottery, drained(lottery, draw))
    assert not seal(res, draw)
    assert failures(res)[-1]["failed"] == ["closing"]
