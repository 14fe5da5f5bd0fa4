"""The gate: one atomic call decides about a ticket and writes it to the journal. Python's side of the scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from intake import bets, keys
from intake.gate_counts import GateOfCounts
from intake.gate_errors import RETRY_AFTER_S, DrawUnknown
from intake.records import BadRecord, CloseRecord, Position, TicketRecord, VoidRecord, decode, lines_text
from rules import errors, games
from rules.limits import Limits
from rules.tickets import Line

SECOND_US = 1_000_000
SALES_A_CALL = 50  # a long call keeps all other terminals waiting


class Sale(NamedTuple):
    """What a terminal asks for. `id` is the uuid's 32 hex digits; `session` the login behind its token, "" for none."""

    agent_id: int
    id: str
    lines: tuple[Line, ...]
    session: str = ""


class Held(NamedTuple):
    """A ticket that the gate holds. `state` is "" sold, "v" voided, "c" cancelled; `ring`: the bell must be rung."""

    serial: int
    state: str
    record: TicketRecord
    replayed: bool = False
    ring: bool = False


class Voided(NamedTuple):
    """The outcome of a void or cancel: "voided" or "never_sold"; `ring`: the bell must be rung."""

    outcome: str
    ring: bool = False


class Gate(GateOfCounts):
    """One process's way to the gate. `adopt` tells it which generation it may talk to."""

    # ── selling ─────────────────────────────────────────────────────────────────────────────────────────────────

    def sell(self, draw: str, sales: Sequence[Sale], batch: str = "") -> list[Held | errors.Problem | DrawUnknown]:
        """Sells tickets of one draw in order; each answer is the ticket, or the problem that refused it.

        Tickets with the same `batch`, a token of the caller's, count once against the agent's rate.
        Raises Unreconciled, IntakeUnavailable, or has them as answers of all tickets behind those that were sold: then
        each of these may or may not have been taken.
        """
        with self._answering():
            return self._sell(draw, sales, batch)

    def _sell(self, draw: str, sales: Sequence[Sale], batch: str) -> list[Held | errors.Problem | DrawUnknown]:
        found: list[Held | errors.Problem | DrawUnknown] = []
        for (agent, session), mine in groupby(sales, key=lambda sale: (sale.agent_id, sale.session)):
            asked = list(mine)
            for first in range(0, len(asked), SALES_A_CALL):
                try:
                    found += self._sell_some(draw, agent, session, asked[first : first + SALES_A_CALL], batch)
                except errors.IntakeUnavailable as problem:
                    if not found:
                        raise
                    return found + [problem] * (len(sales) - len(found))  # those before are sold
        return found

    def _sell_some(
        self, draw: str, agent_id: int, session: str, sales: Sequence[Sale], batch: str
    ) -> list[Held | errors.Problem | DrawUnknown]:
        game = draw.partition("-")[0]
        per_s, kind = (self._rates.batches_per_s, "batch") if batch else (self._rates.sales_per_s, "single")
        words: list[Any] = [*self._seen(draw), agent_id, session, SECOND_US // per_s, kind]
        for sale in sales:
            if not sale.lines:
                raise ValueError("a ticket has lines")
            its_bets = bets.arguments(game, sale.lines)
            words += (sale.id, lines_text(sale.lines), sum([line.stake for line in sale.lines]), len(its_bets))
            words += its_bets
        names = [*_draw_keys(draw), keys.wallet(agent_id), keys.bell(draw)]
        names += [keys.limits(draw), keys.ended(session), keys.batch(batch)]
        outcome, *answers = self._run([("sell", names, words)], alone=bool(batch))[0]
        if outcome == b"no_draw":
            return [DrawUnknown() for _ in sales]
        ring = answers.pop(0) == b"1"
        found: list[Held | errors.Problem | DrawUnknown] = []
        for sale, answer in zip(sales, answers, strict=True):
            found.append(held := self._sold(game, sale, answer, ring))
            if isinstance(held, Held):
                self._note(draw, _place(answer[3:5]) if held.replayed else Position(held.serial, 0))
            elif answer[0] == b"cancelled":
                self._note(draw, _place(answer[1:3]))
        return found

    def _sold(self, game: str, sale: Sale, answer: list[Any], ring: bool) -> Held | errors.Problem:
        outcome = answer[0]
        if outcome == b"sold":
            return _checked(sale, Held(int(answer[1]), "", _ticket(answer[2]), ring=ring))
        if outcome == b"again":
            return _checked(sale, _held(answer[1], answer[2])._replace(replayed=True))
        if outcome == b"credit":
            return errors.InsufficientCredit(available=int(answer[1]))
        if outcome == b"slow":
            return errors.SlowDown(retry_after=max(1, math.ceil(int(answer[1]) / 1000)))
        if outcome == b"sold_out":
            return errors.SoldOut(lines=_short(game, sale, answer[1:]))
        return _REFUSALS[outcome]()

    # ── after the sale ──────────────────────────────────────────────────────────────────────────────────────────

    def find_id(self, draw: str, ticket_id: str) -> Held | None:
        """The ticket with that id; None: the gate has never sold it. Raises IdCancelled, DrawUnknown."""
        return self._find(draw, "id", ticket_id)

    def find_serial(self, draw: str, serial: int) -> Held | None:
        """The ticket with that serial; None: there is none. Raises DrawUnknown."""
        return self._find(draw, "serial", str(serial))

    def _find(self, draw: str, by: str, value: str) -> Held | None:
        names = [keys.draw(draw), keys.journal(draw), keys.ids(draw)]
        with self._answering():
            answer = self._call("find", names, [*self._seen(draw), by, value])
            if answer[0] == b"found":
                self._note(draw, _place(answer[3:5]))
                try:
                    return _held(answer[1], answer[2])
                except BadRecord:  # its bytes were altered: what it was nobody can say
                    return None
            if answer[0] == b"dead":
                self._note(draw, _place(answer[1:3]))
                raise errors.IdCancelled
        if answer[0] == b"none":
            return None
        raise _raisable(answer[0])

    def void(self, draw: str, held: Held, agent_id: int, window_ms: int, reason: str) -> Voided:
        """Voids a sold ticket. Raises AlreadyVoided, VoidWindowOver, DrawNotOpen, DrawUnknown."""
        return self._void(draw, "v", held, agent_id, held.record.id, window_ms, reason)

    def cancel(self, draw: str, held: Held | None, agent_id: int, ticket_id: str, window_ms: int) -> Voided:
        """Kills an id: of the ticket `held`, or of none (None: the caller found none). Raises as `void`."""
        return self._void(draw, "c", held, agent_id, ticket_id, window_ms, "cancelled by id")

    def _void(
        self,
        draw: str,
        kind: str,
        held: Held | None,
        agent_id: int,
        ticket_id: str,
        window_ms: int,
        reason: str,
    ) -> Voided:
        serial, lines = (held.serial, held.record.lines) if held else (0, ())
        record = VoidRecord(kind, agent_id, ticket_id, 0, serial, sum(line.stake for line in lines), reason)
        changes: list[Any] = []
        for field, stake in bets.fields(draw.partition("-")[0], lines).items():
            changes += [field, stake]
        names = [*_draw_keys(draw), keys.wallet(agent_id), keys.bell(draw)]
        with self._answering():
            head = [*self._seen(draw), kind, agent_id, ticket_id, serial, record.stake, window_ms, reason]
            answer = self._call("void", names, head + changes)
            outcome = answer[0]
            if outcome in (b"voided", b"never_sold"):
                self._note(draw, _place(answer[1:3]))
                return Voided(outcome.decode(), ring=answer[4] == b"1")
            if outcome == b"repeated":
                self._note(draw, _place(answer[2:4]))
                return Voided(answer[1].decode())
            if outcome == b"already":
                self._note(draw, _place(answer[1:3]))
        if outcome == b"changed":
            # Somebody sold or cancelled the id between our look and our call; the same call again sees it.
            raise errors.IntakeUnavailable(retry_after=RETRY_AFTER_S)
        raise _raisable(outcome)

    # ── the draw ────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, draw: str, fields: Mapping[str, Any], by_number: Mapping[str, int] | None = None) -> bool:
        """Opens a draw that was never open, with the fields of lua/head.lua. False: it is open already.

        `by_number`: limits of numbers by their exposure field (bets.limits_by_field).
        """
        pairs, numbers = _flat(fields), _flat(by_number or {})
        names = [keys.draw(draw), keys.journal(draw), keys.limits(draw)]
        answer = self._call("open", names, [self._generation(), draw, len(pairs), *pairs, *numbers])
        return bool(answer[0] == b"opened")

    def close(self, draw: str, *, asked: bool) -> tuple[Position, CloseRecord, bool] | None:
        """Closes the draw: at once if a person asked, else only if its cutoff has come (None: not yet).

        Gives the close marker's place, the marker, and whether the bell must be rung. Raises DrawUnknown.
        """
        names = [keys.draw(draw), keys.journal(draw), keys.bell(draw)]
        with self._answering():
            answer = self._call("close", names, [*self._seen(draw), "asked" if asked else "cutoff"])
            if answer[0] == b"early":
                return None
            if answer[0] != b"closed":
                raise _raisable(answer[0])
            place, marker = Position.parse(answer[1]), decode(answer[2])
            assert isinstance(marker, CloseRecord)
            self._note(draw, place)
            return place, marker, answer[3] == b"1"

    def move_cutoff(self, draw: str, intent: str, cutoff_ms: int, *, generation: int | None = None) -> bool:
        """Applies an intent to move the cutoff; False: refused, it has come. The same intent gets the same answer.

        `generation`: see GateOfAgents. Raises DrawUnknown.
        """
        return self._intent("cutoff", [keys.draw(draw)], [self._generation(generation), intent, cutoff_ms])

    def set_limits(self, draw: str, intent: str, limits: Limits, *, generation: int | None = None) -> bool:
        """Applies an intent to change all limits of a draw; False: refused, it sells no more. The same intent gets the
        same answer.

        `generation`: see GateOfAgents. Raises DrawUnknown.
        """
        amounts = [limits.stake_straight, limits.stake_rambolito, limits.payout]
        head = [self._generation(generation), intent, *amounts]
        return self._intent(
            "limits", [keys.draw(draw), keys.limits(draw)], head + _flat(bets.limits_by_field(limits.by_number))
        )

    def _intent(self, script: str, names: Sequence[str], arguments: Sequence[Any]) -> bool:
        answer = self._call(script, names, arguments)
        if answer[0] not in (b"applied", b"refused"):
            raise _raisable(answer[0])
        return bool(answer[0] == b"applied")

    def stop(self, draw: str) -> None:
        """Stops the draw's sales until its gate is rebuilt after an engineer cleared the cause."""
        self._call("mark", [keys.draw(draw)], ["stopped", "1"])

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────

    def memory(self) -> tuple[int, int]:
        """(bytes used, bytes allowed; 0 allowed: no bound)."""
        with self._guarded():
            info: dict[str, Any] = self._client.info("memory")
        return int(info["used_memory"]), int(info["maxmemory"])

    def set_full(self, full: bool) -> None:
        """Stops sales, or lets them go on, for want of memory."""
        self._call("mark", [keys.GATE], ["full", "1" if full else "0"])


def _place(pair: Sequence[bytes]) -> Position:
    return Position(int(pair[0]), int(pair[1]))


def _flat(pairs: Mapping[str, Any]) -> list[Any]:
    return [part for pair in pairs.items() for part in pair]


def _draw_keys(draw: str) -> list[str]:
    return [keys.draw(draw), keys.journal(draw), keys.ids(draw), keys.exposure(draw)]


def _ticket(raw: bytes) -> TicketRecord:
    record = decode(raw)
    assert isinstance(record, TicketRecord)
    return record


def _checked(sale: Sale, held: Held) -> Held:
    """Nobody may get another's receipt, whatever went wrong on the way to the gate and back."""
    if (held.record.id, held.record.agent_id) != (sale.id, sale.agent_id):
        raise RuntimeError(f"the gate's answer to {sale.id} is ticket {held.record.id}")
    return held


def _held(known: bytes, record: bytes) -> Held:
    state = known.decode()
    serial = state.rstrip("vc")
    return Held(int(serial), state[len(serial) :], _ticket(record))


def _short(game: str, sale: Sale, pairs: Sequence[bytes]) -> list[dict[str, Any]]:
    """For each bet that does not fit: play, number as it stands first on the ticket, and what is left."""
    wanted = list(bets.summed(game, sale.lines))
    asked: dict[tuple[str, str], str] = {}
    for line in sale.lines:
        asked.setdefault((line.play, games.match_key(game, line.play, line.number)), line.number)
    found = []
    for index, left in zip(pairs[::2], pairs[1::2], strict=True):
        bet = wanted[int(index) - 1]
        found.append({"play": bet[0], "number": asked[bet], "left": int(left)})
    return found


_REFUSALS: dict[bytes, Callable[[], errors.Problem]] = {
    b"cancelled": errors.IdCancelled,
    b"conflict": errors.IdConflict,
    b"cutoff": errors.CutoffPassed,
    b"not_open": errors.DrawNotOpen,
    b"suspended": errors.AgentSuspended,
    b"revoked": errors.TokenRevoked,
    b"stopped": lambda: errors.IntakeUnavailable(retry_after=RETRY_AFTER_S),
    b"full": lambda: errors.IntakeUnavailable(retry_after=RETRY_AFTER_S),
    b"already": errors.AlreadyVoided,
    b"over": errors.VoidWindowOver,
}


def _raisable(outcome: bytes) -> Exception:
    return DrawUnknown() if outcome == b"no_draw" else _REFUSALS[outcome]()
