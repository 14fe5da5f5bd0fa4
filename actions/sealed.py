"""What was sealed is what counts: the whole pool when a draw is settled, the one ticket when its prize is paid.

Numbers are known by then, and somebody with a hand in the database could add a ticket or a winner, or change one.
Neither leads to the root that was published before the draw.
"""

from __future__ import annotations

from contextlib import closing
from itertools import zip_longest

from sqlalchemy.orm import Session

from actions.annulled import annulled_in
from actions.proofs import gaps_of, inclusion_proof, serials_at, stored_leaves, voided_stakes
from actions.resources import Resources
from actions.stored_tickets import as_tickets
from actions.two_sources import Side
from models.draws import Draw, draw_by_name
from models.settlement import Result, Seal, block_hashes
from models.tickets import ticket_by_serial
from rules.errors import Contradiction, NoSuchDraw, NotSealed
from rules.games import prize
from rules.merkle import BLOCK
from rules.tickets import leaf_text


class AlteredAfterSeal(Contradiction):
    """The stored tickets of a draw are not those that were sealed."""


def check_seal(res: Resources, name: str) -> str:
    """The published root, in hex, if the draw's tickets still give it.

    Raises NoSuchDraw, NotSealed, AlteredAfterSeal.
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            raise NoSuchDraw
        if session.get(Seal, draw.id) is None:
            raise NotSealed
        return check_pool(session, draw).merkle_root.hex()


def check_pool(session: Session, draw: Draw) -> Seal:
    """The seal of a sealed draw, if all its tickets as they are stored now give its root. Raises AlteredAfterSeal.

    Reads the whole draw, in less than half the time that sealing it took: nothing else would show a winner that was
    taken out, or changed so that he loses.
    """
    seal = session.get_one(Seal, draw.id)
    annulled = annulled_in(session, draw.id)
    voided = voided_stakes(session, draw.id) | annulled.voids
    stored = Side()
    with closing(stored_leaves(session, draw, gaps_of(session, draw.id), voided, annulled)) as leaves:
        for leaf in leaves:
            stored.add(leaf)
    stored.finish()
    if (stored.size, stored.root) == (seal.tree_size, seal.merkle_root):
        return seal
    blocks = enumerate(zip_longest(stored.hashes, block_hashes(session, draw.id)))
    first = next((block for block, (now, then) in blocks if now != then), 0)
    serial, _ = serials_at(seal.gaps, first * BLOCK)
    raise AlteredAfterSeal(
        f"{stored.size} leaves give the root {stored.root.hex()}; sealed were {seal.tree_size} with the root"
        f" {seal.merkle_root.hex()}; they differ from serial {serial} on, within {BLOCK} serials"
    )


def sealed_prize(session: Session, draw: Draw, serial: int) -> int:
    """What the ticket wins in centavos, by its leaf in the sealed tree and by the result that two persons entered.

    0 if there is no such ticket in the tree, if it was voided or annulled, or if it is not stored as it was sealed
    (then with an alarm).
    """
    stored, proof = ticket_by_serial(session, draw.id, draw.date, serial), inclusion_proof(session, draw, serial)
    if stored is None or proof is None:
        return 0
    (ticket,) = as_tickets(session, {draw.id: draw}, [stored])
    if proof["leaf_text"] != leaf_text(ticket, voided=False):
        return 0
    assert draw.prize_table is not None
    result = session.get_one(Result, (draw.id, draw.result_version)).number
    return sum(prize(draw.game, draw.prize_table, *line, result) for line in ticket.lines)
