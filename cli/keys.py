"""`drawbreak keys`: the keys that sign tokens."""

from __future__ import annotations

import os

import click

from runtime.environment import Reader, directory
from runtime.key_ring import LIVE_MAX, parse_ring, ring_text, rotated
from runtime.process import lock_directory
from runtime.secret_files import read_secret, replace_secret


@click.group()
def keys() -> None:
    """Rotate the keys that sign access and refresh tokens."""


@keys.command()
@click.option("--drop-old", is_flag=True, help="The old keys end at once: everybody logs in again.")
def rotate(drop_old: bool) -> None:
    """Let a new key sign from now on. Running processes follow within a second.

    The key before it goes on verifying until the next rotation. Leave a day between two: a terminal that slept through
    both has to log in again.
    """
    if os.environ.get("JWT_KEY"):
        raise click.ClickException("the ring is given by JWT_KEY: change it there, the new key in front, and restart")
    path = Reader(os.environ)("VAR", "var/run", directory) / "keys" / "jwt.key"
    try:
        # Two rotations at once would both keep the old key and lose one of the new ones: the second is refused.
        held = lock_directory(path.parent)
        try:
            ring = rotated(parse_ring(read_secret(path)), drop_old=drop_old)
            replace_secret(path, ring_text(ring))
        finally:
            os.close(held)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    click.echo(f"{ring[0].kid} signs from now on; of {LIVE_MAX} keys at most, {len(ring)} verify")
