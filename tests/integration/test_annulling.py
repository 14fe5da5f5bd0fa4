"""A ticket that the database will not take, annulled by two persons: what becomes of its draw, and how it reads."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from actions import results, seals
from actions.annulling import annul
from actions.claims import claim
from actions.credit import push_outbox
from actions.dead_letters import replay
from actions.sell import sell
from actions.ticket_list import page
from actions.tickets import by_id, by_number
from actions.verify import verify
from intake.gate import Sale
from models.audit import AuditRow
from models.people import User
from models.tickets import Closing, TicketFilter
from rules.errors import ContentsDiffer, NotAWinner, NotFound, WrongState
from rules.merkle import root
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import (
    decide,
    failures,
    ledger,
    read_draw,
    wallet,
)
from tests.integration.conftest import Lottery, line
from tests.integration.refusing import (
    BAD,
    WHY,
    Refused,
    available,
    credit_is_right,
    given_back,
    letter_statuses,
    reconcile_anew,
    refuse_300,
    take_300,
    waiting,
)
from tests.integration.test_seal import leaf_of
from tests.integration.test_verify import checked_by_everybody, proven


@pytest.fixture
def refused(lottery: Lottery) -> Refused:
    refuse_300(lottery.res)
    return Refused(lottery)


# ── the draw goes on ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_stake_comes_back_and_the_draw_seals_settles_and_balances(refused: Refused) -> None:
    res, agent, draw = refused.res, refused.agent, refused.draw
    assert not seal(res, draw, force=True)
    assert (available(res, agent), wallet(res, agent).balance) == (8_800, 9_800)
    refused.annul()
    assert (available(res, agent), wallet(res, agent).balance) == (9_800, 9_800)
    assert given_back(res) == [(agent, 1_000)]

    assert seal(res, draw), failures(res)
    body = seals.published(res, draw, full=True)
    leaves = [leaf_of(receipt, annulled=receipt is refused.bad) for receipt in refused.receipts]
    assert (body["merkle_root"], body["tree_size"]) == (root(leaves).hex(), 3)
    assert (body["count"], body["voided"], body["annulled"], body["stake"]) == (3, 0, 1, 200)
    with res.sessions() as session:
        closing = session.get_one(Closing, read_draw(res, draw).id)
    assert (closing.tickets, closing.stake) == (3, 1_200), "the marker counts what was accepted"

    after = refused.result("300")
    assert settle(after, draw)
    assert results.settlement(after, draw)["winners"] == 0
    assert refused.differences() == []
    assert ledger(res) == {"cash": -10_000, "wallet": 9_800, "sales": 200}
    assert credit_is_right(res)


def test_a_voided_draw_refunds_what_counts_and_the_annulled_stake_came_back_before(refused: Refused) -> None:
    res, agent, draw = refused.res, refused.agent, refused.draw
    decide(refused.lottery, draw)
    assert not void_draw(res, draw)
    refused.annul()
    assert void_draw(res, draw)
    push_outbox(res)
    assert (available(res, agent), wallet(res, agent).balance) == (10_000, 10_000)
    assert ledger(res) == {"cash": -10_000, "wallet": 10_000, "sales": 0}
    assert refused.differences() == []
    assert [by_number(res, agent, r["number"])["status"] for r in refused.receipts] == [
        "refunded",
        "annulled",
        "refunded",
    ]
    reconcile_anew(res)
    assert available(res, agent) == 10_000
    assert by_number(res, agent, refused.bad["number"])["status"] == "annulled"


# ── the ticket ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_reads_annulled_everywhere_before_and_after_the_gate_forgets_it(refused: Refused) -> None:
    res, agent, bad = refused.res, refused.agent, refused.bad

    def told() -> set[str]:
        listed = page(res, agent, draw=refused.draw)["items"]
        assert [item["number"] for item in listed] == [r["number"] for r in reversed(refused.receipts)]
        assert page(res, agent, status="annulled")["items"] == [listed[1]]
        answer = verify(res, bad["number"], bad["code"])
        same = by_number(res, agent, bad["number"]), by_id(res, agent, refused.draw, refused.id), listed[1]
        assert all(body == bad | {"status": "annulled"} for body in same)
        return {answer["status"], *(body["status"] for body in same)}

    assert by_number(res, agent, bad["number"])["status"] == "accepted"
    refused.annul()
    assert told() == {"annulled"}
    reconcile_anew(res)
    assert told() == {"annulled"}
    assert seal(res, refused.draw)
    assert told() == {"annulled"}
    reconcile_anew(res)  # the gate has forgotten the draw: all of it is read from the database
    assert told() == {"annulled"}
    again = sell(res, refused.draw, Sale(agent, refused.id, (line(BAD),)))
    assert again == (bad | {"status": "annulled"}, True)
    with pytest.raises(NotFound):
        by_number(res, refused.lottery.person(), bad["number"])


def test_its_proof_leads_to_the_published_root_and_so_do_its_neighbours(refused: Refused) -> None:
    res, draw = refused.res, refused.draw
    refused.annul()
    assert seal(res, draw)
    for receipt in refused.receipts:
        answer = verify(res, receipt["number"], receipt["code"])
        proven(refused.lottery, draw, answer)
        checked_by_everybody(refused.lottery, draw, answer)
        state = "annulled" if receipt is refused.bad else "accepted"
        assert answer["inclusion_proof"]["leaf_text"].endswith(f"|{state}")


def test_a_claim_of_it_is_refused_as_no_winner_whatever_its_draw_is(refused: Refused) -> None:
    bad = refused.bad

    def refuse(res: Any) -> None:
        with pytest.raises(NotAWinner):
            claim(res, refused.agent, bad["number"], bad["code"], None)

    refused.annul()
    refuse(refused.res)
    assert seal(refused.res, refused.draw)
    refuse(refused.res)
    after = refused.result("300")
    assert settle(after, refused.draw)
    refuse(after)
    assert by_number(after, refused.agent, bad["number"])["status"] == "annulled"
    assert verify(after, bad["number"], bad["code"])["prize"] == 0


def test_a_list_finds_it_by_what_tickets_are_found_by_and_page_by_page(refused: Refused) -> None:
    res, agent, bad = refused.res, refused.agent, refused.bad
    refused.annul()
    everything = page(res, agent)["items"]
    cursor, paged = None, []
    for _ in range(4):
        found = page(res, agent, limit=1, cursor=cursor)
        paged += found["items"]
        cursor = found["next"]
        if cursor is None:
            break
    assert paged == everything
    assert [item["status"] for item in paged] == ["accepted", "annulled", "accepted"]

    def numbers(**wanted: Any) -> list[str]:
        return [item["number"] for item in page(res, agent, wanted=TicketFilter(**wanted))["items"]]

    assert numbers(played="300") == numbers(stake=1_000) == [bad["number"]]
    assert bad["number"] not in numbers(played="301") + numbers(stake=100)
    assert bad["number"] in numbers(agent_id=agent)
    assert page(res, refused.lottery.person())["items"] == []
    assert page(res, refused.lottery.person("admin"))["items"] == []


# ── who, and when ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_different_persons_with_the_same_reason(refused: Refused) -> None:
    res, first, second, letter = refused.res, refused.first, refused.second, refused.letter
    third = refused.lottery.person("admin")
    for _ in range(2):
        assert annul(res, first, letter, "another reason")[0] == 202
    assert annul(res, first, letter, WHY)[0] == 202, "his own request he may replace"
    with pytest.raises(ContentsDiffer):
        annul(res, second, letter, "another reason")
    assert annul(res, second, letter, WHY)[0] == 202, "both were dropped"
    with res.sessions.begin() as session:
        session.get_one(User, second).status = "suspended"
    assert annul(res, first, letter, WHY)[0] == 202, "what a suspended person asked for is asked no more"
    assert (letter_statuses(res), given_back(res)) == (["waiting"], [])
    assert annul(res, third, letter, WHY)[0] == 200
    for person in (first, third):
        code, body = annul(res, person, letter, WHY)
        assert (code, body["annul"]["asked_by"], body["annul"]["confirmed_by"]) == (200, first, third)
    with pytest.raises(WrongState, match="is annulled"):
        annul(res, refused.lottery.person("admin"), letter, WHY)
    with res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.object == f"dead_letter:{letter}").order_by(AuditRow.id))
        written = [(row.outcome, (row.after or {}).get("asked"), (row.after or {}).get("status")) for row in rows]
        last = session.scalars(select(AuditRow).order_by(AuditRow.id.desc())).first()
    asked = ("done", "annulled", None)
    assert written == [asked] * 3 + [("contents_differ", None, None)] + [asked] * 2 + [("done", None, "annulled")]
    assert last is not None
    assert last.after == {
        "status": "annulled",
        "reason": WHY,
        "asked_by": first,
        "agent_id": refused.agent,
        "returned": 1_000,
    }


def test_nothing_is_annulled_before_its_draw_is_drained_to_its_close_marker(lottery: Lottery) -> None:
    res, agent, draw = lottery.res, lottery.person(pesos=100), lottery.draw()
    refuse_300(res)
    lottery.sell(draw, agent, BAD)
    persist(res, draw)
    (letter,) = waiting(res, draw)
    admin = lottery.person("admin")
    with pytest.raises(WrongState, match="The draw is open"):
        annul(res, admin, letter, WHY)
    decide(lottery, draw)
    with pytest.raises(WrongState, match="not drained"):
        annul(res, admin, letter, WHY)
    persist(res, draw)
    assert annul(res, admin, letter, WHY)[0] == 202


def test_only_a_waiting_letter_of_a_ticket_is_annulled(refused: Refused) -> None:
    res = refused.res
    take_300(res)
    annul(res, refused.first, refused.letter, WHY)
    assert replay(res, refused.letter).replayed
    with pytest.raises(WrongState, match="is replayed"):
        annul(res, refused.second, refused.letter, WHY)
    with pytest.raises(NotFound):
        annul(res, refused.second, 2**70, WHY)
    assert seal(res, refused.draw)
