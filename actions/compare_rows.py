"""Comparing records of a journal with the rows that the database holds for the same serials."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from intake.records import Record, TicketRecord
from models.draws import Draw
from models.journal_rows import read_tickets


def differs_from_stored(session: Session, draw: Draw, records: Mapping[int, Record]) -> str | None:
    """What differs between these tickets (by serial) and the stored ones; None if every one is a mere repeat."""
    stored = {t.serial: t for t in read_tickets(session, draw.id, draw.date, min(records), max(records))}
    for serial, record in records.items():
        assert isinstance(record, TicketRecord)
        row = stored.get(serial)
        if row is None:
            return f"ticket {serial} conflicts with a row that is not there"
        if (record.stake, record.text()) != (row.stake, row.record):
            return f"ticket {serial} in the journal is not the ticket {serial} of the database"
    return None
