"""Public verification: only a code opens a ticket, and its proof holds against the published root."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from actions import seals
from actions.proofs import index_of, serials_at
from actions.receipts import ticket_of
from actions.verify import verify
from actions.void import void
from rules import merkle
from rules.tickets import ticket_code, ticket_number
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import as_owner, decide, jump, resulted, sealed, sell_many
from tests.integration.conftest import Lottery

SCRIPT = Path(__file__).parents[2] / "docs" / "check_proof.py"


def proven(lottery: Lottery, draw: str, answer: dict[str, Any]) -> None:
    """The answer's proof leads to the published root, by our own check and by the script for everybody."""
    proof = answer["inclusion_proof"]
    published = seals.published(lottery.res, draw, full=False)
    assert (proof["root"], proof["tree_size"]) == (published["merkle_root"], published["tree_size"])
    path = [bytes.fromhex(step) for step in proof["path"]]
    held = (proof["leaf_text"], proof["index"], proof["tree_size"], path, bytes.fromhex(proof["root"]))
    assert merkle.verify(*held)


def checked_by_everybody(lottery: Lottery, draw: str, answer: dict[str, Any]) -> None:
    published = seals.published(lottery.res, draw, full=False)["merkle_root"]
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "-", published],
        input=json.dumps(answer),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("OK: "), done.stderr


def test_a_ticket_is_verified_by_its_code_before_and_after_it_is_stored(lottery: Lottery) -> None:
    draw = lottery.draw()
    receipt = lottery.sell(draw, lottery.person(pesos=100), "s046:10", "r123:5")
    before = verify(lottery.res, receipt["number"], receipt["code"])
    assert before == {
        "valid": True,
        "draw": draw,
        "lines": receipt["lines"],
        "stake": 1500,
        "status": "accepted",
        "prize": None,
        "inclusion_proof": None,
    }
    sealed(lottery, draw)
    after = verify(lottery.res, receipt["number"].lower(), f" {receipt['code'].lower()[:8]}-{receipt['code'][8:]}")
    assert {**after, "inclusion_proof": None} == before
    proven(lottery, draw, after)
    checked_by_everybody(lottery, draw, after)


def test_a_wrong_code_and_an_unknown_number_tell_nothing(lottery: Lottery) -> None:
    draw = lottery.draw()
    agent = lottery.person(pesos=100)
    one, two = lottery.sell(draw, agent), lottery.sell(draw, agent)

    def nothing_told() -> None:
        for number, code in (
            (one["number"], two["code"]),
            (one["number"], ""),
            (one["number"], "Ω" * 16),
            (ticket_number(draw, 3), one["code"]),
            (ticket_number("3D-20260101-1400", 1), one["code"]),
            ("no number", one["code"]),
        ):
            assert verify(lottery.res, number, code) == {"valid": False}

    nothing_told()
    sealed(lottery, draw)
    nothing_told()


def test_the_prize_is_told_once_the_draw_is_settled(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    won, lost = lottery.sell(draw, agent, "s046:10", "r640:5"), lottery.sell(draw, agent, "s111:10")
    gone = lottery.sell(draw, agent, "s046:10")
    void(lottery.res, agent, gone["number"], "wrong number")
    res = resulted(lottery, draw, "046")

    def told(receipt: dict[str, Any]) -> tuple[Any, Any]:
        answer = verify(res, receipt["number"], receipt["code"])
        proven(lottery, draw, answer)
        assert answer["inclusion_proof"]["leaf_text"].endswith("voided" if receipt is gone else "accepted")
        return answer["status"], answer["prize"]

    assert [told(receipt) for receipt in (won, lost, gone)] == [
        ("accepted", None),
        ("accepted", None),
        ("voided", None),
    ]
    assert settle(res, draw)
    assert [told(receipt) for receipt in (won, lost, gone)] == [("won", 487_500), ("lost", 0), ("voided", 0)]


def test_a_ticket_of_a_voided_draw_is_refunded_and_keeps_its_proof(lottery: Lottery) -> None:
    draw = lottery.draw()
    receipt = lottery.sell(draw, lottery.person(pesos=100))
    sealed(lottery, draw)
    decide(lottery, draw)
    assert void_draw(lottery.res, draw)
    answer = verify(lottery.res, receipt["number"], receipt["code"])
    assert (answer["status"], answer["prize"]) == ("refunded", None)
    proven(lottery, draw, answer)


def test_every_place_of_a_tree_of_several_blocks_is_proven(lottery: Lottery) -> None:
    """3,000 tickets with a gap at a block's end and one inside another: 3,002 leaves in three blocks."""
    agent, draw = lottery.person(pesos=10_000), lottery.draw()
    held = sell_many(lottery, draw, agent, 1023)
    jump(lottery, draw, 1024, 2023)
    held += sell_many(lottery, draw, agent, 500)
    jump(lottery, draw, 2524, 3523)
    held += sell_many(lottery, draw, agent, 1477)
    lottery.res.gate.void(draw, held[1600], agent, 300_000, "wrong number")
    sealed(lottery, draw)
    assert seals.published(lottery.res, draw, full=False)["tree_size"] == 3002

    key = lottery.res.settings.code_key
    for place in (0, 1, 511, 1022, 1023, 1024, 1521, 1522, 1523, 1600, 2045, 2046, 2047, 2998, 2999):
        ticket = ticket_of(draw, held[place])
        answer = verify(lottery.res, ticket_number(draw, ticket.serial), ticket_code(key, ticket))
        assert answer["inclusion_proof"]["index"] == place + (place >= 1023) + (place >= 1523)
        assert answer["inclusion_proof"]["leaf_text"].endswith("voided" if place == 1600 else "accepted")
        proven(lottery, draw, answer)
    checked_by_everybody(lottery, draw, answer)


def test_a_proof_reads_one_block_and_not_the_draw(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=10_000), lottery.draw()
    held = sell_many(lottery, draw, agent, 3000)
    sealed(lottery, draw)
    ticket = ticket_of(draw, held[1500])
    ranges: list[tuple[int, int]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "string_agg" in statement:
            ranges.append((parameters["first"], parameters["last"]))

    engine = lottery.res.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    verify(lottery.res, ticket_number(draw, 1501), ticket_code(lottery.res.settings.code_key, ticket))
    event.remove(engine, "before_cursor_execute", note)
    assert ranges == [(1025, 2048)]


def test_a_block_altered_after_the_seal_gets_no_proof(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    one, two = lottery.sell(draw, agent, "s046:10"), lottery.sell(draw, agent, "s047:10")
    sealed(lottery, draw)
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE ticket_lines SET number = '999' WHERE serial = 2")
    # The gate holds what was sold until the draw is archived, so the codes still match.
    for receipt in (one, two):
        answer = verify(lottery.res, receipt["number"], receipt["code"])
        assert answer["valid"]
        assert answer["inclusion_proof"] is None


@pytest.mark.parametrize(
    ("gaps", "leaves"),
    [
        ([], [(1, 1), (2, 2), (3, 3)]),
        ([[1, 5]], [(1, 5), (6, 6), (7, 7)]),
        ([[2, 2]], [(1, 1), (2, 2), (3, 3)]),
        ([[2, 4], [5, 9]], [(1, 1), (2, 4), (5, 9), (10, 10)]),
        ([[3, 1002], [1004, 2003]], [(1, 1), (2, 2), (3, 1002), (1003, 1003), (1004, 2003), (2004, 2004)]),
    ],
)
def test_serials_and_places_in_the_tree_belong_together(gaps: list[list[int]], leaves: list[tuple[int, int]]) -> None:
    for index, (first, last) in enumerate(leaves):
        assert serials_at(gaps, index) == (first, last)
        assert index_of(gaps, last) == index if [first, last] not in gaps else True
