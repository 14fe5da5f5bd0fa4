"""Who is told what, in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rules.draws import DrawStatus
from rules.notifications import (
    ALL,
    DRAW_KINDS,
    KINDS,
    NUMBERS_SHOWN,
    OFFICE,
    dead_letter,
    draw_state,
    low_credit,
    out_of_balance,
    sold_out,
    winners,
)
from rules.rights import Role
from rules.texts import cleaned, pesos

DRAW = "3D-20261122-1400"


def test_each_state_that_is_told_has_a_kind_and_the_others_are_silent() -> None:
    told = {status: draw_state(DRAW, status, "046", 1) for status in DrawStatus}
    assert {status for status, notices in told.items() if not notices} == {"scheduled", "settling", "voiding"}
    assert {notice.kind for notices in told.values() for notice in notices} == set(DRAW_KINDS)
    for status, notices in told.items():
        for notice in notices:
            assert notice.rooms == (OFFICE if status == "sealed" else ALL)
            assert notice.data["draw_id"] == DRAW
            assert ("result" in notice.data) == (status in ("resulted", "settled"))


def test_a_correction_is_told_as_another_result_and_each_version_once() -> None:
    first, (second,) = draw_state(DRAW, "resulted", "046", 1), draw_state(DRAW, "settling", "047", 2)
    assert (second.kind, second.data["result"], second.data["version"]) == ("draw.result", "047", 2)
    assert "orrected" in second.title
    settled = [draw_state(DRAW, "settled", "046", version)[0] for version in (1, 2)]
    keys = [first[0].once, second.once, *(notice.once for notice in settled)]
    assert None not in keys
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ("role", "version", "tickets", "text"),
    [
        (Role.AGENT, 1, 1, "1 ticket of yours won ₱450.00."),
        (Role.COORDINATOR, 1, 12, "12 tickets of your agents won ₱450.00."),
        (Role.AGENT, 2, 2, "The result was corrected: 2 tickets of yours won ₱450.00."),
        (Role.AGENT, 2, 0, "The result was corrected: no ticket of yours wins any more."),
    ],
)
def test_winners_are_told_to_one_person(role: Role, version: int, tickets: int, text: str) -> None:
    notice = winners(DRAW, version, 17, role, tickets, 45_000)
    assert (notice.text, list(notice.rooms)) == (text, ["user:17"])


def test_low_credit_is_told_to_the_agent_and_the_one_above_him() -> None:
    assert low_credit(17, "ana", 5, -1_050, 50_000).rooms == ["user:17", "user:5"]
    assert low_credit(17, "ana", None, 0, 50_000).rooms == ["user:17"]
    assert low_credit(17, "ana", 5, -1_050, 50_000).text == "ana has -₱10.50 left, less than ₱500.00."


@given(some.integers(1, 1_300))
def test_however_many_numbers_are_sold_out_the_text_fits(count: int) -> None:
    notice = sold_out(DRAW, [("rambolito", f"{number:03d}") for number in range(count)])
    assert len(notice.text) < 1_000
    assert len(notice.data["numbers"]) == count
    assert ("more." in notice.text) == (count > NUMBERS_SHOWN)


def test_dead_letters_and_contradictions_are_the_offices_affair() -> None:
    letters = [dead_letter(7, kind, "draws.settle") for kind in ("record", "task", "message")]
    for notice in (*letters, out_of_balance(DRAW, "seal", "no")):
        assert notice.kind in KINDS
        assert notice.rooms == OFFICE
    assert letters[2].data["about"] is None  # who knows who wrote it
    assert dead_letter(7, "task", "notifications.deliver", outward=False).outward is False


def test_a_contradiction_is_told_apart_by_what_it_is() -> None:
    keys = [
        out_of_balance(DRAW, where, "no", once=once).once
        for where, once in (("seal", "a"), ("seal", "b"), ("void", "a"), ("seal", "a\ud800"), ("seal", "x" * 100_000))
    ]
    assert len(set(keys)) == 5
    assert max(len(key or "") for key in keys) < 200
    assert out_of_balance(DRAW, "seal", "no").once is None


@given(some.text(), some.integers(1, 50))
def test_any_text_can_be_cleaned(text: str, most: int) -> None:
    found = cleaned(text, most)
    assert len(found) <= most
    assert all(character.isprintable() or character in "\n\t" for character in found)
    found.encode()


def test_pesos_are_written_as_people_write_them() -> None:
    assert [pesos(c) for c in (0, 5, 123_456_789, -100)] == ["₱0.00", "₱0.05", "₱1,234,567.89", "-₱1.00"]
