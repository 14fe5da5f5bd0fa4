"""Files of an older system as they are read: every cell exact, every fault by its line and column."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions import csv_rows
from actions.csv_rows import Column, read_table
from actions.moving_files import BALANCES, USERS, WINNERS, claim_until, old_number, pesos
from actions.moving_tree import Standing, check_tree, levels, names_of
from rules.draws import draw_name
from rules.rights import Role
from rules.tickets import ticket_number
from tests.integration.moving import HASH, users_csv

TEXT = {"a": Column(str), "b": Column(str, optional=True)}


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def table(content: str | bytes, columns: dict[str, Column] = TEXT) -> csv_rows.Table:
        path = tmp_path / "file.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, columns)

    return table


def places(table: csv_rows.Table) -> list[tuple[int, str]]:
    return [(finding.line, finding.field) for finding in table.findings]


def cells(table: csv_rows.Table) -> list[tuple[int, dict[str, object]]]:
    return [tuple(row) for row in table.rows]  # type: ignore[misc]


def test_a_byte_order_mark_crlf_and_blank_lines_do_not_count(read) -> None:  # type: ignore[no-untyped-def]
    table = read("\ufeffa,b\r\n 1 ,Peña\r\n\r\n,\r\n2,\r\n")
    assert cells(table) == [(2, {"a": "1", "b": "Peña"}), (5, {"a": "2"})]
    assert (table.findings, table.readable) == ([], True)


def test_a_cell_may_hold_lines_and_the_next_row_keeps_its_line_number(read) -> None:  # type: ignore[no-untyped-def]
    table = read('b,a\n"12 Rizal\nManila",1\n,\n"x,""y""",\n')
    assert cells(table) == [(2, {"b": "12 Rizal\nManila", "a": "1"}), (5, {"b": 'x,"y"'})]
    assert places(table) == [(5, "a")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", [(0, "")]),
        ("\n\n", [(0, "")]),
        ("a,c\n1,2\n", [(1, "")]),
        ("b\n1\n", [(1, "")]),
        ("a,b,a\n1,2,3\n", [(1, "")]),
        ("A\n1\n", [(1, ""), (1, "")]),
        ("a;b\n1;2\n", [(1, ""), (1, "")]),
        ("a,b\n1\n", [(2, "")]),
        ("a,b\n1,2,3\n4,5\n", [(2, "")]),
        ('a,b\n1,2\n3,"4\n5,6\n', [(3, "")]),
        ('a,b\n1,"2"x\n', [(2, "")]),
        ("a\n" + "x" * 20_000, [(2, "")]),
        ("a,b\n1,2\n".encode("utf-16"), [(1, ""), (1, ""), (1, "")]),
    ],
)
def test_what_cannot_be_read_is_found_and_the_file_is_not_taken_for_whole(read, content, found) -> None:  # type: ignore[no-untyped-def]
    table = read(content)
    assert (places(table), table.readable) == (found, False)


@pytest.mark.parametrize("cell", [b"Pe\xf1a", "bell\a", "nul\0", "right\u202eleft", "\x1b[2Jgone"])
def test_what_is_not_utf8_or_not_printable_is_found_in_its_cell(read, cell) -> None:  # type: ignore[no-untyped-def]
    raw = cell if isinstance(cell, bytes) else cell.encode()
    table = read(b"a,b\n1,2\n" + raw + b",2\n")
    assert places(table) == [(3, "a")]
    assert str(table.findings[0]).isprintable()


def test_a_file_has_its_most_rows(read, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(csv_rows, "ROWS_MAX", 3)
    assert read("a\n1\n2\n3\n").readable
    table = read("a\n1\n2\n3\n4\n")
    assert (places(table), table.readable, len(table.rows)) == ([(5, "")], False, 3)


WRITTEN = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(WRITTEN, WRITTEN), max_size=20), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_any_program_writes_is_read_back(read, rows, line_end, marked) -> None:  # type: ignore[no-untyped-def]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([("a", "b"), *rows])
    table = read(text.getvalue().encode("utf-8-sig" if marked else "utf-8"))
    assert table.findings == []
    assert [(row.get("a", str), row.get("b", str)) for row in table.rows] == rows


# ── cells ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(-(10**12) + 1, 10**12 - 1))
def test_pesos_are_read_to_the_centavo(centavos: int) -> None:
    sign, (whole, rest) = "-" * (centavos < 0), divmod(abs(centavos), 100)
    assert pesos(f"{sign}{whole}.{rest:02}") == centavos


@pytest.mark.parametrize(
    "text",
    ["1", "1.5", "1.500", ".50", "+1.00", "1,000.00", "1.00 ", "₱1.00", "1e3", "=1.00", "١.٠٠", "1" * 11 + ".00"],
)
def test_money_of_any_other_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two decimals"):
        pesos(text)


def test_a_date_to_claim_until_ends_at_midnight_in_manila() -> None:
    assert claim_until("2026-12-31") == datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert claim_until("2026-12-31T12:00:00+08:00") == datetime(2026, 12, 31, 4, tzinfo=UTC)
    for text in ("31.12.2026", "2026-02-30", "2026-12-31T12:00:00", "1999-01-01", "2026-1-1"):
        with pytest.raises(ValueError, match=r"."):
            claim_until(text)


def test_an_old_number_is_kept_in_capitals_and_is_never_one_of_ours() -> None:
    assert old_number("tkt-0001") == "TKT-0001"
    ours = ticket_number(draw_name("3D", datetime(2026, 1, 5).date(), datetime(2026, 1, 5, 14).time()), 17)
    for text in (ours, ours.lower(), ours.replace("-", ""), ours.replace("0", "o"), "a b", "ä", "x" * 21):
        with pytest.raises(ValueError, match=r"."):
            old_number(text)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("username", "ab"),
        ("username", "with space"),
        ("username", "peña"),
        ("username", "=admin"),
        ("role", "Agent"),
        ("role", "root"),
        ("parent", ""),
        ("full_name", "=cmd|'/c calc'!A1"),
        ("full_name", "@SUM(1)"),
        ("full_name", "x" * 201),
        ("address", "+1 Street"),
        ("address", "-1 Street"),
        ("phone", "call me"),
        ("phone", '="0917"'),
        ("commission_bp", "10001"),
        ("commission_bp", "5.5"),
        ("commission_bp", "-1"),
        ("credit_limit", "-1.00"),
        ("credit_limit", "1000"),
        ("password_hash", ""),
        ("password_hash", "correct horse"),
        ("password_hash", HASH.replace("$2b$", "$2x$")),
        ("password_hash", HASH.replace("$04$", "$15$")),
        ("password_hash", HASH.replace("$04$", "$03$")),
        ("password_hash", HASH[:-1]),
        ("password_hash", HASH + "="),
        ("password_hash", HASH[:28] + "A" + HASH[29:]),
        ("password_hash", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA"),
    ],
)
def test_a_faulty_cell_of_the_users_file_is_found(read, column: str, cell: str) -> None:  # type: ignore[no-untyped-def]
    table = read(users_csv({"username": "someone", column: cell}), USERS)
    assert places(table) == [(2, column)]
    assert table.readable
    assert column not in table.rows[0].cells


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("username", "Juan.dela-Cruz_2"),
        ("phone", "+63 917 555-0100"),
        ("full_name", "María-José O'Neil, Jr."),
        ("address", "12 Rizal St.\nManila"),
        ("password_hash", HASH.replace("$2b$", "$2a$")),
        ("password_hash", HASH.replace("$2b$", "$2y$")),
        ("commission_bp", "0"),
        ("credit_limit", "0.00"),
    ],
)
def test_a_good_cell_of_the_users_file_is_taken(read, column: str, cell: str) -> None:  # type: ignore[no-untyped-def]
    table = read(users_csv({"username": "someone", column: cell}), USERS)
    assert table.findings == []
    assert column in table.rows[0].cells


@pytest.mark.parametrize("content", [f"a,{HASH}", f"{HASH},1.00"])
def test_no_finding_shows_a_password_hash_or_a_code(read, content: str) -> None:  # type: ignore[no-untyped-def]
    hashed = read(users_csv({"username": HASH, "full_name": "=" + HASH, "password_hash": HASH + "x"}), USERS)
    misplaced = read(f"username,balance\n{content}\n", BALANCES)
    coded = read("number,code,agent,prize,claim_until\nT-1,Ä-secret-code,a,0.00,soon\n", WINNERS)
    assert len(hashed.findings) == 3
    assert {finding.field for finding in coded.findings} == {"code", "agent", "prize", "claim_until"}
    headless = read(f"T-1,ABCD-secret-code,{HASH}\n", WINNERS)
    told = " ".join(str(finding) for table in (hashed, misplaced, coded, headless) for finding in table.findings)
    assert HASH[:12] not in told
    assert "secret-code" not in told


# ── the tree ────────────────────────────────────────────────────────────────────────────────────────────────────────

HERE = {
    "superadmin": Standing(1, Role.SUPERADMIN, [], False),
    "closed": Standing(2, Role.COORDINATOR, [1], True),
}


@pytest.mark.parametrize(
    ("people", "found"),
    [
        (["boss admin superadmin", "area coordinator boss", "sub coordinator area", "ana agent sub"], []),
        (["ana agent area", "area coordinator boss", "boss admin superadmin"], []),
        (["root superadmin superadmin", "eyes operator root"], []),
        (["ana agent nobody"], [(2, "parent")]),
        (["boss admin superadmin", "ana agent boss", "Ana agent boss"], [(4, "username")]),
        (["superadmin admin superadmin"], [(2, "username"), (2, "parent")]),
        (["boss admin superadmin", "two admin boss"], [(3, "parent")]),
        (["ana agent superadmin", "bea agent ana"], [(3, "parent")]),
        (["ana agent superadmin", "eyes operator ana"], [(3, "parent")]),
        (["one coordinator two", "two coordinator one"], [(2, "parent"), (3, "parent")]),
        (["one coordinator one"], [(2, "parent")]),
        (["one coordinator two", "two coordinator two"], [(3, "parent")]),
        (["ana agent closed"], [(2, "parent")]),
        (["ana boss superadmin", "bea agent ana"], [(2, "role")]),
    ],
)
def test_the_tree_keeps_its_rules(read, people: list[str], found: list[tuple[int, str]]) -> None:  # type: ignore[no-untyped-def]
    rows = [dict(zip(("username", "role", "parent"), person.split(), strict=True)) for person in people]
    table = read(users_csv(*rows), USERS)
    check_tree(table, names_of(table), HERE)
    assert sorted(places(table)) == sorted(found)


def test_people_come_after_those_above_them(read) -> None:  # type: ignore[no-untyped-def]
    rows = [dict(zip(("username", "parent"), pair.split(), strict=True)) for pair in ("ana sub", "sub top", "top root")]
    named = names_of(read(users_csv(*rows), USERS))
    assert [[name for name, _ in level] for level in levels(named)] == [["top"], ["sub"], ["ana"]]
