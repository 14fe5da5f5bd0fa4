"""Reports, asked for or made by themselves: what is to be made, how far it is, where its file is."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    CursorResult,
    ForeignKey,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    and_,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str

# Where a report stands:
#   waiting ──► running ──► ready ──► expired
#                  │          └─────► failed (its file was lost)
#                  └────────────────► failed
UNFINISHED = ("waiting", "running")

# A ring that nobody answered for so long is lost, or waits in a queue that is too long.
RING_LASTS = timedelta(seconds=10)


class Report(Base):
    """One report. `top_id`: whose subtree it shows. `by_itself`: nobody asked for it."""

    __tablename__ = "reports"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    number: Mapped[Big]
    owner_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[Str]
    format: Mapped[Str]
    top_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    draw_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("draws.id"))
    since: Mapped[Instant | None]
    before: Mapped[Instant | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    lasting: Mapped[bool] = mapped_column(Boolean)
    by_itself: Mapped[bool] = mapped_column(Boolean, server_default="false")
    status: Mapped[Str] = mapped_column(server_default="waiting")
    asked_at: Mapped[Instant] = mapped_column(server_default=func.now())
    rung_at: Mapped[Instant | None]
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    started_at: Mapped[Instant | None]
    rows_done: Mapped[Big] = mapped_column(server_default="0")
    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[Instant | None]
    expires_at: Mapped[Instant | None]
    file: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    code: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)


class MadeFile(NamedTuple):
    """A finished file: its size, its SHA-256, and how many rows are in it."""

    size_bytes: int
    sha256: bytes
    rows: int


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────


def lock_reports_of(session: Session, owner_id: int) -> None:
    """Whoever asks for reports waits for his own other requests until they are committed, and for nobody else's."""
    key = func.hashtextextended(f"reports of {owner_id}", 0)
    session.execute(select(func.pg_advisory_xact_lock(key)))


def equal_report(session: Session, owner_id: int, digest: bytes, fresh: datetime, kept: datetime) -> Report | None:
    """The owner's report that answers the same request: unfinished, or ready and still there at `kept`.

    One that does not last must have been begun at `fresh` or later.
    """
    ready = and_(Report.status == "ready", Report.expires_at > kept, or_(Report.lasting, Report.started_at >= fresh))
    query = select(Report).where(Report.owner_id == owner_id, Report.digest == digest)
    query = query.where(or_(Report.status.in_(UNFINISHED), ready))
    return session.scalars(query.order_by(Report.number.desc()).limit(1)).first()


def waiting_of(session: Session, owner_id: int) -> int:
    """How many of the reports that he asked for are not finished."""
    mine = select(func.count()).select_from(Report).where(Report.owner_id == owner_id, ~Report.by_itself)
    return session.scalar(mine.where(Report.status.in_(UNFINISHED))) or 0


def stamp_of_claims(session: Session, draw_id: int) -> list[int]:
    """Figures that differ whenever anything was paid, claimed, held or given up on the draw's prizes meanwhile.

    The cost follows the claims.
    """
    row = session.execute(
        text(
            """
            SELECT count(*), CAST(coalesce(sum(p.paid), 0) AS bigint), CAST(coalesce(sum(p.expired), 0) AS bigint),
                   count(p.held_at),
                   coalesce(sum(p.serial) FILTER (WHERE p.held_at IS NOT NULL), 0), count(c.id), coalesce(max(c.id), 0),
                   count(c.id) FILTER (WHERE c.status = 'pending')
            FROM payouts p LEFT JOIN claims c ON c.number = p.number WHERE p.draw_id = :draw
            """
        ),
        {"draw": draw_id},
    ).one()
    return [int(figure) for figure in row]


def stamp_of_tree(session: Session) -> int:
    """A number that is raised whenever somebody is hired or moved."""
    return session.scalar(text("SELECT coalesce(max(id), 0) + count(*) FROM commission_rates")) or 0


def reports_page(session: Session, owner_id: int, limit: int, before: int | None) -> Sequence[Report]:
    """Up to `limit` reports of the owner, newest first, with numbers under `before`."""
    query = select(Report).where(Report.owner_id == owner_id).order_by(Report.number.desc()).limit(limit)
    if before is not None:
        query = query.where(Report.number < before)
    return session.scalars(query).all()


def add_by_itself(
    session: Session, kind: str, format: str, draw_id: int, owners: Sequence[int], digests: Sequence[bytes]
) -> None:
    """A report about a draw for each owner, of his own subtree; none where the same is on its way already."""
    session.execute(
        text(
            """
            INSERT INTO reports (owner_id, kind, format, top_id, draw_id, digest, lasting, by_itself)
            SELECT owner, :kind, :format, owner, :draw, digest, true, true
            FROM unnest(CAST(:owners AS bigint[]), CAST(:digests AS bytea[])) AS asked(owner, digest)
            ON CONFLICT DO NOTHING
            """
        ),
        {"kind": kind, "format": format, "draw": draw_id, "owners": list(owners), "digests": list(digests)},
    )


# ── making ──────────────────────────────────────────────────────────────────────────────────────────────────


def lock_making(session: Session, report_id: uuid.UUID) -> bool:
    """Whether nobody else makes the report, until the transaction ends: its end is also that of whoever dies."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(str(report_id), 1)))))


def take(session: Session, report_id: uuid.UUID, file: str, now: datetime) -> Report | None:
    """Begins a try that writes to `file`; None: there is nothing left to make."""
    begun = {"status": "running", "started_at": now, "tries": Report.tries + 1, "rows_done": 0, "rows_total": None}
    statement = update(Report).where(Report.id == report_id, Report.status.in_(UNFINISHED)).values(**begun, file=file)
    return session.scalar(statement.returning(Report))


def give_back(session: Session, report: Report) -> None:
    """The try does not count: a part was away."""
    session.execute(_of_try(report).values(tries=Report.tries - 1))


def note_progress(session: Session, report: Report, done: int, total: int | None) -> None:
    """How many rows the try has written."""
    session.execute(_of_try(report).values(rows_done=done, rows_total=total))


def note_ready(session: Session, report: Report, made: MadeFile, now: datetime, expires_at: datetime) -> bool:
    """The file is there; False: somebody else has begun anew, and it is nobody's."""
    kept = {"size_bytes": made.size_bytes, "sha256": made.sha256, "expires_at": expires_at, "finished_at": now}
    rows = {"rows_done": made.rows, "rows_total": made.rows}
    return _changed(session, _of_try(report).values(status="ready", **kept, **rows))


def note_failed(session: Session, report: Report, code: str, detail: str, now: datetime) -> bool:
    """There will be no file; False: somebody else has begun anew."""
    failed = {"status": "failed", "file": None, "code": code, "detail": detail, "finished_at": now}
    return _changed(session, _of_try(report).values(failed))


def note_damaged(session: Session, report: Report, code: str, detail: str, now: datetime) -> None:
    """The file of a ready report is not what it was: an equal request makes a new one."""
    none = {"file": None, "size_bytes": None, "sha256": None, "expires_at": None}
    failed = {"status": "failed", "code": code, "detail": detail, "finished_at": now}
    of_file = update(Report).where(Report.id == report.id, Report.status == "ready", Report.file == report.file)
    session.execute(of_file.values(**failed, **none))


def _of_try(report: Report) -> Any:
    return update(Report).where(Report.id == report.id, Report.status == "running", Report.file == report.file)


def _changed(session: Session, statement: Any) -> bool:
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return bool(result.rowcount == 1)


# ── sweeping ────────────────────────────────────────────────────────────────────────────────────────────────


class Due(NamedTuple):
    """A report that somebody should be rung for. `late`: not for the first time."""

    id: uuid.UUID
    late: bool


def ring_due(session: Session, at_once: int) -> list[Due]:
    """Reports that nobody makes and nobody was rung for lately, people's own requests first; noted as rung for.

    With those that were rung for lately they are `at_once` at the most, so that a new request need not wait behind a
    thousand others in the queue.
    """
    lately = Report.rung_at > func.now() - RING_LASTS
    waiting = Report.status == "waiting"
    rung = session.scalar(select(func.count()).select_from(Report).where(waiting, lately)) or 0
    query = select(Report.id, Report.rung_at, Report.status).where(Report.status.in_(UNFINISHED))
    query = query.where(or_(Report.rung_at.is_(None), ~lately)).order_by(Report.by_itself, Report.number)
    rows = session.execute(query.limit(max(0, at_once - rung)).with_for_update(skip_locked=True)).all()
    free = [row for row in rows if row.status == "waiting" or lock_making(session, row.id)]
    session.execute(update(Report).where(Report.id.in_([row.id for row in rows])).values(rung_at=func.now()))
    return [Due(row.id, row.rung_at is not None) for row in free]


def expire_some(session: Session, now: datetime, limit: int) -> list[str]:
    """Ends up to `limit` reports whose time is over; the names of their files."""
    over = select(Report.id).where(Report.status == "ready", Report.expires_at <= now)
    rows = session.scalars(over.order_by(Report.expires_at).limit(limit).with_for_update(skip_locked=True)).all()
    files = session.scalars(select(Report.file).where(Report.id.in_(rows))).all()
    session.execute(update(Report).where(Report.id.in_(rows)).values(status="expired", file=None))
    return [file for file in files if file is not None]


def files_in_use(session: Session, among: Collection[str]) -> set[str]:
    """Which of these names are those of files that are there or being made."""
    return {file for file in session.scalars(select(Report.file).where(Report.file.in_(among))) if file is not None}


def forget_old(session: Session, before: datetime) -> int:
    """Deletes what failed or expired before that instant; how many. The audit log keeps who asked for what."""
    over = or_(Report.expires_at < before, and_(Report.expires_at.is_(None), Report.finished_at < before))
    result = session.execute(delete(Report).where(Report.status.in_(("failed", "expired")), over))
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
