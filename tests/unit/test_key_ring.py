"""The ring of signing keys, and processes that follow its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from runtime.environment import SettingsError
from runtime.key_ring import LIVE_MAX, KeyRing, parse_ring, ring_text, rotated
from runtime.process import lock_directory
from runtime.secret_files import ensure_secret, new_key, read_secret, replace_secret
from runtime.settings import Settings

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "jwt.key"
    ensure_secret(path)
    return path


def test_a_bare_key_is_a_ring_of_one_with_a_name_that_stays() -> None:
    (key,) = parse_ring(A)
    assert key.key == bytes.fromhex(A)
    assert parse_ring(A) == parse_ring(f" {A}\n") == (key,)
    assert parse_ring(ring_text([key])) == (key,)
    assert parse_ring(B)[0].kid != key.kid


@pytest.mark.parametrize("text", [f"new:{A}\nold:{B}", f"new:{A},old:{B}", f"new:{A} old:{B}\n"])
def test_a_ring_is_read_in_its_order(text: str) -> None:
    assert [(kid, key.hex()) for kid, key in parse_ring(text)] == [("new", A), ("old", B)]


@pytest.mark.parametrize(
    "text", ["", "x", A[:-2], f"a:{A}\na:{B}", f":{A}", f"a b:{A}", f"ä:{A}", f"{'k' * 33}:{A}", f"{A} {B} {C}"]
)
def test_what_is_no_ring_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_ring(text)


def test_a_new_key_goes_in_front_and_the_oldest_falls_out() -> None:
    first = parse_ring(A)
    second = rotated(first)
    third = rotated(second)
    assert second[1:] == first
    assert third[1:] == second[:1]
    assert len(third) == LIVE_MAX
    assert len(rotated(third, drop_old=True)) == 1
    assert len({key.kid for key in (*first, *second, *third)}) == 3


def test_a_process_meets_a_rotation_by_an_id_that_it_does_not_know(path: Path) -> None:
    old = parse_ring(read_secret(path))
    process = KeyRing(old, path)
    assert process.key(old[0].kid) == old[0].key
    new = rotated(old)
    replace_secret(path, ring_text(new))
    assert process.key(new[0].kid) == new[0].key
    assert process.key(old[0].kid) == old[0].key
    assert process.signing() == new[0]


def test_a_key_that_fell_out_verifies_nothing_after_the_next_look(path: Path) -> None:
    old = parse_ring(read_secret(path))
    process = KeyRing(old, path)
    replace_secret(path, ring_text(rotated(old, drop_old=True)))
    version = process.version
    assert process.signing().kid != old[0].kid
    assert process.key(old[0].kid) is None
    assert process.version == version + 1


def test_a_file_in_bad_order_changes_nothing(path: Path) -> None:
    ring = parse_ring(read_secret(path))
    process = KeyRing(ring, path)
    for spoil in (lambda: path.write_text("nonsense"), lambda: os.chmod(path, 0o644), path.unlink):
        spoil()
        assert process.signing() == ring[0]


def test_ids_from_anywhere_find_nothing(path: Path) -> None:
    process = KeyRing(parse_ring(A), path)
    for kid in (None, 7, ["x"], {}, "", "../jwt.key", "x" * 10_000):
        assert process.key(kid) is None


def test_the_command_rotates_and_keeps_the_file_to_its_owner(path: Path) -> None:
    old = parse_ring(read_secret(path))
    environ = {"VAR": str(path.parent.parent), "JWT_KEY": ""}
    for count in (2, 2):
        answer = CliRunner().invoke(main, ["keys", "rotate"], env=environ)
        assert answer.exit_code == 0, answer.output
        ring = parse_ring(read_secret(path))
        assert len(ring) == count
        assert path.stat().st_mode & 0o777 == 0o600
        assert ring[1:] == old[:1]
        assert ring[0].key.hex() not in answer.output
        old = ring
    assert CliRunner().invoke(main, ["keys", "rotate", "--drop-old"], env=environ).exit_code == 0
    assert len(parse_ring(read_secret(path))) == 1


def test_the_command_says_why_it_cannot(path: Path) -> None:
    environ = {"VAR": str(path.parent.parent), "JWT_KEY": ""}
    given = CliRunner().invoke(main, ["keys", "rotate"], env=environ | {"JWT_KEY": A})
    assert (given.exit_code, "JWT_KEY" in given.output) == (1, True)
    before = read_secret(path)
    held = lock_directory(path.parent)
    at_once = CliRunner().invoke(main, ["keys", "rotate"], env=environ)
    os.close(held)
    assert (at_once.exit_code, read_secret(path)) == (1, before)
    path.unlink()
    assert CliRunner().invoke(main, ["keys", "rotate"], env=environ).exit_code == 1


def test_settings_take_the_ring_from_the_environment_or_the_file_and_say_what_is_wrong(path: Path) -> None:
    environ = {
        "DATABASE_URL": "postgresql://localhost/x",
        "REDIS_URL": "redis://localhost",
        "VAR": str(path.parent.parent),
        "CODE_KEY": new_key(),
    }
    from_file = Settings.from_env(environ)
    assert (from_file.jwt_keys, from_file.jwt_key_file) == (parse_ring(read_secret(path)), path)
    given = Settings.from_env(environ | {"JWT_KEY": f"a:{A} b:{B}"})
    assert ([key.kid for key in given.jwt_keys], given.jwt_key_file) == (["a", "b"], None)
    assert A not in repr(given)
    assert bytes.fromhex(A).hex() not in repr(given)
    with pytest.raises(SettingsError, match="JWT_KEY must hold"):
        Settings.from_env(environ | {"JWT_KEY": "short"})
