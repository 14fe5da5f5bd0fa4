"""The chain over the audit log: each link's hash covers its row and the hash before it.

Whoever can write to the database can rewrite rows and links alike; that is why every new head is also written
to a file and to the log, which leave the machine by other ways.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from actions.resources import Resources
from models.audit import (
    AuditLink,
    AuditRow,
    add_links,
    chain_head,
    chained_rows,
    forgotten_rows,
    lock_chain,
    unchained,
)

# What stands before the first link.
START = bytes(32)

# Rows chained in one transaction.
ROWS_MAX = 1_000
# An id taken by a transaction that commits after as many later rows is found by the look at the whole log only.
# Transactions last ten seconds at the most; a look back this far costs some ten milliseconds.
LOOK_BACK_IDS = 20_000

# A row without a link may be this old: workers rest while they are deployed.
UNCHAINED_MAX = timedelta(minutes=5)
# A row is stamped as it is written and chained in the order of ids: an earlier time among later ones was made up.
OUT_OF_ORDER_MAX = timedelta(hours=1)
FINDINGS_MAX = 100

HEADS_FILE = "audit-heads.log"

# What a link covers, said here: a column that the table gets one day must not make every older link wrong.
COVERED = (
    "id",
    "at",
    "actor_id",
    "actor",
    "role",
    "action",
    "object",
    "before",
    "after",
    "address",
    "request_id",
    "outcome",
)

_HEAD = re.compile(r"\A([0-9]{1,19}) ([0-9a-f]{64})\Z")
# The beginning of a head, as a write leaves it that a full disk or a power cut ended; or what some disks put there.
_TORN = re.compile(r"\A(?:[0-9]{1,19}(?: [0-9a-f]{0,63})?)?\0*\Z")


class Head(NamedTuple):
    """The last link of the chain: how many there are, and the hash over all of them."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq} {self.hash.hex()}"


def heads_file(res: Resources) -> Path:
    """Where heads are kept beside the database, one "seq hash" a line."""
    return res.settings.var_dir / HEADS_FILE


def canonical(row: AuditRow) -> bytes:
    """The row as the chain covers it: JSON in UTF-8, keys sorted, no spaces, `at` in UTC to the microsecond."""
    values = {name: getattr(row, name) for name in COVERED}
    values["at"] = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def next_hash(before: bytes, row: AuditRow) -> bytes:
    """The hash of the row's link, 32 bytes."""
    return sha256(before + canonical(row)).digest()


def lengthen(res: Resources, *, whole: bool = False) -> tuple[int, Head | None]:
    """Chains rows that are committed and have no link: (how many, the new head; None: nothing to do).

    `whole` looks at the whole log, not only at its end. Safe to run twice and at once: one works, the others find
    nothing. The head is written to its file after the commit: a head there is in the chain, for ever.
    """
    done, head = 0, None
    while True:
        added, head_now = _lengthen_once(res, None if whole else LOOK_BACK_IDS)
        done, head = done + added, head_now or head
        if head_now is not None:
            _append(heads_file(res), f"{head_now}\n")
        if added < ROWS_MAX:
            return done, head


def _lengthen_once(res: Resources, look_back: int | None) -> tuple[int, Head | None]:
    with res.sessions.begin() as session:
        if not lock_chain(session):
            return 0, None
        # A statement after the lock: it sees what the one before us committed.
        last = chain_head(session)
        seq, before = (last.seq, last.hash) if last else (0, START)
        links = []
        for row in unchained(session, ROWS_MAX, look_back):
            seq, before = seq + 1, next_hash(before, row)
            links.append(AuditLink(seq=seq, audit_id=row.id, hash=before))
        add_links(session, links)
    return len(links), Head(seq, before) if links else None


def _append(path: Path, line: str) -> None:
    """One write, so that two at once never mix, and on disk before it counts.

    After a torn line a new one begins. Raises OSError, also when the disk took only a part.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(fd).st_size
        ended = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
        wanted = (line if ended else f"\n{line}").encode()
        if os.write(fd, wanted) != len(wanted):
            raise OSError(errno.ENOSPC, "a head was written in part", str(path))
        os.fsync(fd)
    finally:
        os.close(fd)


def torn_lines(lines: Sequence[str]) -> list[int]:
    """The numbers, from 1, of lines that a write left unfinished. Their heads say nothing, and convict nobody."""
    return [number for number, line in enumerate(lines, 1) if line.strip() and _TORN.match(line.strip())]


def verify(session: Session, heads: Sequence[str]) -> tuple[Head, list[str]]:
    """(the head, every finding up to FINDINGS_MAX): rows or links changed, taken away, put in, or never chained.

    `heads`: lines "seq hash" kept elsewhere, which the chain must contain; empty and torn ones (`torn_lines`) are
    passed over. Reads one snapshot, everything once.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    kept, findings = _kept_heads(heads)
    head = Head(0, START)
    latest = datetime.min.replace(tzinfo=UTC)
    with closing(chained_rows(session)) as rows:
        for link, row in rows:
            findings += _of_link(head, link, row, latest)
            if kept.pop(link.seq, link.hash) != link.hash:
                findings.append(f"link {link.seq}: a head kept elsewhere has another hash; the chain was rewritten")
            head = Head(link.seq, link.hash)
            latest = max(latest, row.at) if row is not None else latest
            if len(findings) >= FINDINGS_MAX:
                return head, findings
    findings += [f"head {seq} is kept elsewhere and not in the chain: links were taken away" for seq in sorted(kept)]
    for row_id in forgotten_rows(session, UNCHAINED_MAX, FINDINGS_MAX):
        findings.append(f"row {row_id} is not chained, and older than {UNCHAINED_MAX}")
    return head, findings[:FINDINGS_MAX]


def _of_link(head: Head, link: AuditLink, row: AuditRow | None, latest: datetime) -> Iterator[str]:
    if link.seq != head.seq + 1:
        yield f"links {head.seq + 1} to {link.seq - 1} are missing"
        return  # the hash before this one is gone; from here on the chain is followed again
    if row is None:
        yield f"link {link.seq}: its row {link.audit_id} is missing"
    elif next_hash(head.hash, row) != link.hash:
        yield f"link {link.seq}: row {row.id} or the link was changed"
    elif row.at + OUT_OF_ORDER_MAX < latest:
        yield f"link {link.seq}: row {row.id} says {row.at.isoformat()} and was written later"


def _kept_heads(lines: Sequence[str]) -> tuple[dict[int, bytes], list[str]]:
    kept: dict[int, bytes] = {}
    findings = []
    for number, line in enumerate(map(str.strip, lines), 1):
        head = _HEAD.match(line)
        if head is not None:
            wanted = bytes.fromhex(head[2])
            if kept.setdefault(int(head[1]), wanted) != wanted:
                findings.append(f"heads, line {number}: {head[1]} stands there with another hash before")
        elif not _TORN.match(line):
            findings.append(f"heads, line {number}: not a head")
    return kept, findings
