"""The one tree of errors that people and terminals can meet.

Each class has its stable code (the `code` of a problem document); its docstring is the message that is
shown when the place that raises it has nothing better to say. The HTTP status of a code is the API's affair.
"""

from collections.abc import Sequence
from typing import ClassVar, TypedDict


class FieldError(TypedDict):
    """One bad field of a request: its path (`lines.0.number`) and what is wrong with it."""

    path: str
    message: str


class Problem(Exception):
    """Something went wrong."""

    code: ClassVar[str]
    detail: str
    errors: list[FieldError]
    extra: dict[str, object]

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = (), **extra: object) -> None:
        """`extra` holds further members of the problem document: available, lines, retry_after (seconds)."""
        # Without docstrings (python -OO) the code alone still tells which problem it is.
        self.detail = detail or " ".join((type(self).__doc__ or self.code).split())
        self.errors = list(errors)
        self.extra = extra
        super().__init__(self.detail)


# Who is asking


class BadCredentials(Problem):
    """The username or the password is wrong."""

    code = "bad_credentials"


class BadToken(Problem):
    """The token is missing or cannot be read."""

    code = "bad_token"


class TokenExpired(Problem):
    """The token has expired; refresh it and ask again."""

    code = "token_expired"


class TokenRevoked(Problem):
    """The token has been revoked; log in again."""

    code = "token_revoked"


class TokenReused(Problem):
    """This refresh token was spent before; its session has ended. Log in again."""

    code = "token_reused"


class WrongPassword(Problem):
    """That is not your password, or not your one-time code."""

    code = "wrong_password"


class StepUpRequired(Problem):
    """This needs a fresh token: give your password or one-time code once more."""

    code = "step_up_required"


class PasswordChangeRequired(Problem):
    """Your password was given to you by somebody else; change it first."""

    code = "password_change_required"


class TotpRequired(Problem):
    """Your role needs a one-time code at login; set it up first."""

    code = "totp_required"


class Forbidden(Problem):
    """Your role does not allow this."""

    code = "forbidden"


class SamePerson(Problem):
    """A second person has to confirm this."""

    code = "same_person"


class LastSuperadmin(Problem):
    """The last active superadmin cannot be suspended."""

    code = "last_superadmin"


class UsernameTaken(Problem):
    """This username is taken."""

    code = "username_taken"


# What is asked


class NotFound(Problem):
    """There is no such thing here."""

    code = "not_found"


class MethodNotAllowed(Problem):
    """This address does not take that method."""

    code = "method_not_allowed"


class UnsupportedMediaType(Problem):
    """The body has to be application/json."""

    code = "unsupported_media_type"


class TooLarge(Problem):
    """The body is too large."""

    code = "too_large"


class Invalid(Problem):
    """The request is not valid."""

    code = "invalid"


class KeyReused(Problem):
    """This Idempotency-Key was used before with another body."""

    code = "key_reused"


class SlowDown(Problem):
    """Too many requests; wait and ask again."""

    code = "slow_down"


# Sales and tickets


class IdCancelled(Problem):
    """A ticket with this id was cancelled; the id cannot be used again."""

    code = "id_cancelled"


class IdConflict(Problem):
    """This id belongs to a ticket with other content or of another agent."""

    code = "id_conflict"


class NoSuchDraw(Problem):
    """There is no such draw."""

    code = "no_such_draw"


class CutoffPassed(Problem):
    """The draw has stopped selling."""

    code = "cutoff_passed"


class DrawNotOpen(Problem):
    """The draw is not open."""

    code = "draw_not_open"


class AgentSuspended(Problem):
    """This agent is suspended."""

    code = "agent_suspended"


class InsufficientCredit(Problem):
    """The agent's credit does not cover this ticket."""

    code = "insufficient_credit"


class SoldOut(Problem):
    """The draw's limits leave too little for some of the lines."""

    code = "sold_out"


class VoidWindowOver(Problem):
    """This ticket can no longer be voided."""

    code = "void_window_over"


class AlreadyVoided(Problem):
    """This ticket is voided already."""

    code = "already_voided"


# Draws and results


class DrawExists(Problem):
    """This draw exists already."""

    code = "draw_exists"


class WrongState(Problem):
    """The state of this does not allow it."""

    code = "wrong_state"


class NotSealed(Problem):
    """The draw is not sealed yet."""

    code = "not_sealed"


class OtherDraw(Problem):
    """Date and time are not those of this draw."""

    code = "other_draw"


class TooEarly(Problem):
    """The draw has not been drawn yet."""

    code = "too_early"


class NumbersDiffer(Problem):
    """The two entries differ; both are dropped. Enter the result again."""

    code = "numbers_differ"


class ContentsDiffer(Problem):
    """The second person's call has another content than the first one's; both are dropped. Ask again."""

    code = "contents_differ"


# Dead letters


class TicketNotDiscardable(Problem):
    """A record of a journal is never discarded: it is replayed, or its ticket annulled by two persons."""

    code = "ticket_not_discardable"


# Claims


class WrongCode(Problem):
    """This is not the ticket's code."""

    code = "wrong_code"


class NotSettled(Problem):
    """The draw of this ticket is not settled yet."""

    code = "not_settled"


class NotAWinner(Problem):
    """There is nothing to pay on this ticket."""

    code = "not_a_winner"


class AlreadyClaimed(Problem):
    """The prize of this ticket is paid, or its claim waits for approval."""

    code = "already_claimed"


class OnHold(Problem):
    """This ticket is disputed and on hold."""

    code = "on_hold"


class ClaimExpired(Problem):
    """The time to claim this prize is over."""

    code = "claim_expired"


class NoCopiesLeft(Problem):
    """This ticket has been reprinted as often as it may be."""

    code = "no_copies_left"


# Reports


class TooManyReports(Problem):
    """As many of your reports as may wait at once are not made yet."""

    code = "too_many_reports"


class ReportNotReady(Problem):
    """The report is not made yet."""

    code = "report_not_ready"


class ReportFailed(Problem):
    """The report could not be made."""

    code = "report_failed"


class ReportTooLarge(Problem):
    """The report is too large for its format."""

    code = "report_too_large"


class ReportDamaged(Problem):
    """The report's file is gone, or is not what was made."""

    code = "report_damaged"


class ReportExpired(Problem):
    """The report was kept for its time, and is deleted."""

    code = "report_expired"


# Parts that are away


class ReportUnavailable(Problem):
    """The folder of the reports cannot be read right now; try again."""

    code = "report_unavailable"


class IntakeUnavailable(Problem):
    """The gate cannot answer right now; send the same request again, a sale with the same id."""

    code = "intake_unavailable"


class DatabaseUnavailable(Problem):
    """The database cannot be reached right now; try again."""

    code = "database_unavailable"


class Contradiction(RuntimeError):
    """What is stored contradicts itself: no new try can help, somebody has to look."""


# The gate's script answers with a code: this finds its class.
PROBLEMS: dict[str, type[Problem]] = {problem.code: problem for problem in Problem.__subclasses__()}
