"""`drawbreak witnesses`: the slots in which API processes keep what they answered for."""

from __future__ import annotations

import click

from actions.witnessing import forget, listed
from cli.here import resources_here


@click.group()
def witnesses() -> None:
    """Slots of API processes. A slot that cannot answer makes every rebuild declare a gap."""


@witnesses.command("list")
def list_slots() -> None:
    """List the slots that a rebuild asks."""
    with resources_here() as res:
        for slot, listed_at in listed(res):
            click.echo(f"{slot}  since {listed_at:%Y-%m-%d %H:%M}")


@witnesses.command("forget")
@click.argument("slot")
def forget_slot(slot: str) -> None:
    """Forget SLOT, of a host that is gone for good. What its processes answered for is declared no more."""
    with resources_here() as res:
        if not forget(res, slot):
            raise click.ClickException(f"there is no slot {slot}")
    click.echo(f"{slot} is forgotten")
