import string
from datetime import date, time
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.crockford import ALPHABET, check_character, decode, encode
from rules.draws import FIRST_DAY, LAST_DAY, draw_name
from rules.tickets import (
    CODE_CHARACTERS,
    NUMBER_CHARACTERS_MAX,
    SERIAL_MAX,
    Line,
    Ticket,
    code_matches,
    gap_leaf_text,
    leaf_text,
    normalize_code,
    parse_number,
    qr_text,
    stake,
    ticket_code,
    ticket_number,
    unread_leaf_text,
)

KEY = bytes(range(32))
TICKET = Ticket(
    draw="3D-20261122-1400",
    serial=17,
    id="0198c0de-0000-7000-8000-000000000001",
    agent_id=7,
    accepted_ms=1_795_326_899_123,
    lines=(Line("straight", "046", 1000), Line("rambolito", "123", 500)),
    available=98_500,
)
SAMPLES = [
    ("3D-20261122-1400", 1),
    ("3D-20261122-1400", 17),
    ("3D-20261122-2100", 1_234_567),
    ("2D-20270101-0000", 33_554_431),  # the last with five characters
    ("2D-20200101-0000", 33_554_432),
    ("3D-29991231-2359", SERIAL_MAX),
]

names = st.builds(
    draw_name,
    st.sampled_from(["3D", "2D"]),
    st.dates(FIRST_DAY, LAST_DAY),
    st.builds(time, st.integers(0, 23), st.integers(0, 59)),
)


@settings(deadline=None)
@given(names, st.integers(1, SERIAL_MAX) | st.integers(1, 2_000_000))
def test_a_ticket_number_reads_back_however_it_is_typed(name: str, serial: int) -> None:
    number = ticket_number(name, serial)
    assert len(number) <= NUMBER_CHARACTERS_MAX
    for typed in (number, number.lower(), number.replace("-", "")):
        assert parse_number(typed) == (name, serial)
    assert parse_number(number.replace("0", "O").replace("1", "l")) == (name, serial)
    assert parse_number(number.replace("0", "o").replace("1", "I")) == (name, serial)


@pytest.mark.parametrize(("name", "serial"), SAMPLES)
@pytest.mark.parametrize("dashes", [True, False])
def test_one_wrong_character_is_always_noticed(name: str, serial: int, dashes: bool) -> None:
    number = ticket_number(name, serial) if dashes else ticket_number(name, serial).replace("-", "")
    for place, right in enumerate(number):
        for wrong in (ALPHABET + "U-").replace(right, ""):
            assert parse_number(number[:place] + wrong + number[place + 1 :]) is None


@pytest.mark.parametrize(("name", "serial"), SAMPLES)
@pytest.mark.parametrize("dashes", [True, False])
def test_any_two_swapped_characters_are_noticed(name: str, serial: int, dashes: bool) -> None:
    number = ticket_number(name, serial) if dashes else ticket_number(name, serial).replace("-", "")
    for first, second in combinations(range(len(number)), 2):
        if number[first] != number[second]:
            swapped = list(number)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert parse_number("".join(swapped)) is None


def test_the_check_character_weighs_every_place_differently() -> None:
    zeros = "0" * 30
    weights = [check_character(zeros[:i] + "1" + zeros[i + 1 :]) for i in range(30)]
    assert len({*weights, "1"}) == 31  # the check character's own weight is 1
    assert "0" not in weights
    with pytest.raises(ValueError, match="at most 30"):
        check_character("0" * 31)


@settings(deadline=None)
@given(st.text(max_size=22) | st.text(string.ascii_uppercase + string.digits + "-", min_size=13, max_size=20))
def test_what_is_read_is_written_the_same_way_again(typed: str) -> None:
    found = parse_number(typed)
    assert found is None or ticket_number(*found).replace("-", "") == (
        typed.upper().replace("O", "0").replace("I", "1").replace("L", "1").replace("-", "")
    )


def resealed(body: str) -> str:
    """A number with a right check character, whatever it says."""
    return f"{body[:7]}-{body[7:]}-{check_character(body)}"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        resealed("303EMB800000"),  # serial 0
        resealed("303EMB80000001"),  # a serial with more zeros than it is printed with
        resealed("403EMB80000H"),  # no such game
        resealed("3ZZZZZZ0000H"),  # after the last day
        ticket_number(*SAMPLES[0]) + "\n",
        " " + ticket_number(*SAMPLES[0]),
        ticket_number(*SAMPLES[0]).replace("3", "\uff13"),
        "303EMB8-0000HB",  # one dash of two
    ],
)
def test_a_number_that_is_never_printed_is_not_read(typed: str) -> None:
    assert parse_number(typed) is None


def test_letters_of_other_scripts_do_not_turn_into_ours() -> None:
    assert "S".casefold() == "ſ".casefold()
    assert parse_number("303EMB8-0000H-B".replace("1", "ı").replace("B", "ß")) is None
    assert normalize_code("ſ55R") == ""


@pytest.mark.parametrize(("name", "serial"), [("3D-20261122-1400", 0), ("3D-20261122-1400", SERIAL_MAX + 1), ("x", 1)])
def test_a_ticket_that_cannot_be_has_no_number(name: str, serial: int) -> None:
    with pytest.raises(ValueError, match=r"serial|name"):
        ticket_number(name, serial)


@settings(deadline=None)
@given(st.integers(0, 2**80), st.integers(0, 20))
def test_base32_reads_back(value: int, width: int) -> None:
    text = encode(value, width)
    assert decode(text) == value
    assert len(text) >= width


def test_base32_has_no_negative_numbers() -> None:
    with pytest.raises(ValueError, match="from 0"):
        encode(-1, 5)


def test_the_leaf_is_the_tickets_canonical_line() -> None:
    assert leaf_text(TICKET, voided=False) == (
        "303EMB8-0000H-B|0198c0de-0000-7000-8000-000000000001|7|2026-11-22T05:54:59.123Z|"
        "3D straight 046 1000,3D rambolito 123 500|1500|accepted"
    )
    assert leaf_text(TICKET, voided=True) == leaf_text(TICKET, voided=False).removesuffix("accepted") + "voided"
    annulled = leaf_text(TICKET, voided=False, annulled=True)
    assert annulled == leaf_text(TICKET, voided=False).removesuffix("accepted") + "annulled"
    assert leaf_text(TICKET, voided=True, annulled=True) == leaf_text(TICKET, voided=True)
    assert gap_leaf_text(TICKET.draw, 18, 1017) == "gap|3D-20261122-1400|18|1017"
    assert stake(TICKET.lines) == 1500


def test_a_whole_second_keeps_its_milliseconds_in_the_leaf() -> None:
    assert "|2026-11-22T05:54:59.000Z|" in leaf_text(TICKET._replace(accepted_ms=1_795_326_899_000), False)


def test_the_documented_leaf_is_the_real_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
    assert leaf_text(TICKET, voided=False) in text
    assert gap_leaf_text(TICKET.draw, 18, 1017) in text
    assert unread_leaf_text(TICKET.draw, 19, sha256(b"").hexdigest()) in text


@pytest.mark.parametrize(
    "change",
    [
        {"draw": "3D-20261122-1700"},
        {"serial": 18},
        {"id": "0198c0de-0000-7000-8000-000000000002"},
        {"agent_id": 8},
        {"accepted_ms": TICKET.accepted_ms + 1},
        {"lines": TICKET.lines[:1]},
        {"lines": TICKET.lines[::-1]},
        {"lines": (Line("straight", "046", 1100), TICKET.lines[1])},
    ],
)
def test_whatever_is_altered_in_a_ticket_alters_leaf_and_code(change: dict[str, object]) -> None:
    altered = Ticket(**{**TICKET._asdict(), **change})
    assert leaf_text(altered, voided=False) != leaf_text(TICKET, voided=False)
    assert ticket_code(KEY, altered) != ticket_code(KEY, TICKET)


def test_the_code_depends_on_the_key_and_on_nothing_that_changes_later() -> None:
    code = ticket_code(KEY, TICKET)
    assert len(code) == CODE_CHARACTERS
    assert set(code) <= set(ALPHABET)
    assert ticket_code(KEY, TICKET._replace(available=0)) == code
    assert ticket_code(b"another", TICKET) != code


def test_a_code_matches_in_any_case_with_dashes_spaces_and_lookalikes() -> None:
    code = ticket_code(KEY, TICKET)
    grouped = "-".join(code[i : i + 4] for i in range(0, CODE_CHARACTERS, 4))
    for typed in (
        code,
        code.lower(),
        grouped,
        grouped.replace("-", " "),
        code.replace("0", "o").replace("1", "l"),
    ):
        assert code_matches(KEY, TICKET, typed)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_a_guess_matches_nothing_and_harms_nothing(typed: str) -> None:
    assert not code_matches(KEY, TICKET, typed)


def test_a_code_with_one_other_character_does_not_match() -> None:
    code = ticket_code(KEY, TICKET)
    for place, right in enumerate(code):
        for wrong in ALPHABET.replace(right, ""):
            assert not code_matches(KEY, TICKET, code[:place] + wrong + code[place + 1 :])
    for typed in ("", code[:-1], code + "0", "\ud800"):
        assert not code_matches(KEY, TICKET, typed)


def test_the_qr_text_fits_the_alphanumeric_mode() -> None:
    text = qr_text(ticket_number(TICKET.draw, TICKET.serial), ticket_code(KEY, TICKET))
    assert set(text) <= set(string.digits + string.ascii_uppercase + " $%*+-./:")


def test_the_first_and_last_day_have_numbers() -> None:
    for day in (FIRST_DAY, LAST_DAY):
        name = draw_name("2D", day, time(23, 59))
        assert parse_number(ticket_number(name, 1)) == (name, 1)
    assert date(2020, 1, 1) == FIRST_DAY
