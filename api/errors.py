"""The one table that gives each problem code its HTTP status, and tells the caller what to do.

What a code means is the docstring of its class in rules/errors.py. docs/errors.md is this table in Markdown.
"""

from __future__ import annotations

from typing import NamedTuple

from rules.errors import PROBLEMS, Problem


class InternalError(Problem):
    """Something went wrong on our side."""

    code = "internal_error"


class Row(NamedTuple):
    status: int
    advice: str


SAME_ID = "Send the same id again after Retry-After; it tells whether the ticket was taken."
_FINAL = "Nothing; the answer is final."
_LOG_IN = "Log in again."

TABLE: dict[str, Row] = {
    "bad_credentials": Row(401, "Check username and password; a suspended user gets this answer, too."),
    "bad_token": Row(401, _LOG_IN),
    "token_expired": Row(401, "Refresh the token, then send the same request; a sale with the same id."),
    "token_revoked": Row(401, _LOG_IN),
    "token_reused": Row(401, "Log in again; if it was not you who spent the token, change the password."),
    "forbidden": Row(403, "Ask somebody whose role allows it."),
    "wrong_password": Row(403, "Give the password that you log in with, or the code that your device shows now."),
    "step_up_required": Row(403, "POST /v1/auth/step-up, then send the same request with the token from there."),
    "password_change_required": Row(403, "POST /v1/me/password, then go on."),
    "totp_required": Row(403, "POST /v1/me/totp and …/confirm, then log in again."),
    "wrong_code": Row(403, "Read the code from the ticket once more."),
    "same_person": Row(403, "Let another person confirm."),
    "agent_suspended": Row(403, "Ask your coordinator."),
    "not_found": Row(404, "Check the address; what lies outside your subtree is not found either."),
    "no_such_draw": Row(404, "Take the draw's id from GET /v1/draws."),
    "method_not_allowed": Row(405, "Use a method of the Allow header."),
    "last_superadmin": Row(409, "Make another superadmin first."),
    "username_taken": Row(409, "Choose another username."),
    "key_reused": Row(409, "Take a new Idempotency-Key for a new request."),
    "id_cancelled": Row(409, "Take a new id for a new ticket."),
    "id_conflict": Row(409, "Take a new id; this one names another ticket."),
    "cutoff_passed": Row(409, "Sell for the next draw."),
    "draw_not_open": Row(409, "Sell for a draw that is open; see opens_at and status."),
    "insufficient_credit": Row(409, "See available; ask your coordinator for a load."),
    "sold_out": Row(409, "See lines: what is left on each number that does not fit."),
    "void_window_over": Row(409, _FINAL),
    "already_voided": Row(409, _FINAL),
    "draw_exists": Row(409, "Use the draw that is there."),
    "wrong_state": Row(409, "Look at its status first."),
    "not_sealed": Row(409, "Wait until the draw is sealed."),
    "too_early": Row(409, "Wait until draws_at."),
    "numbers_differ": Row(409, "Both persons enter the result again."),
    "contents_differ": Row(409, "Both persons send the call again, with the same content."),
    "ticket_not_discardable": Row(409, "Mend the reason and replay it, or annul its ticket with a second person."),
    "not_settled": Row(409, "Wait until the draw is settled."),
    "not_a_winner": Row(409, _FINAL),
    "already_claimed": Row(409, "Do not pay; see `by_you`, `claim_status` and `paid` if it was your own claim."),
    "on_hold": Row(409, "Do not pay; ask an administrator."),
    "claim_expired": Row(409, _FINAL),
    "no_copies_left": Row(409, _FINAL),
    "too_many_reports": Row(409, "Wait until one of them is ready."),
    "report_not_ready": Row(409, "Ask GET /v1/reports/{id} until `status` is `ready`."),
    "report_failed": Row(409, "See `reason`, a code of this table. Mend that and ask for the report anew."),
    "report_too_large": Row(409, "Ask for it as `csv`, or for a shorter period."),
    "report_damaged": Row(409, "Ask for the report anew, and tell whoever runs the machine."),
    "report_expired": Row(410, "Ask for the report anew."),
    "too_large": Row(413, "Send a smaller body: 64 KiB, a batch 1 MiB."),
    "unsupported_media_type": Row(415, "Send JSON with Content-Type: application/json."),
    "invalid": Row(422, "See errors: each bad field by its path."),
    "other_draw": Row(422, "Check date and time against the draw's."),
    "slow_down": Row(429, "Wait as long as Retry-After says, then send the same request."),
    "internal_error": Row(500, "Report the X-Request-ID. A sale: send the same id again."),
    "intake_unavailable": Row(503, SAME_ID),
    "report_unavailable": Row(503, "Send the same request again after Retry-After."),
    "database_unavailable": Row(503, "Send the same request again after Retry-After."),
}

CLASSES: dict[str, type[Problem]] = {**PROBLEMS, InternalError.code: InternalError}

assert CLASSES.keys() == TABLE.keys()


def status_of(problem: Problem | type[Problem]) -> int:
    """The HTTP status of a problem."""
    return TABLE[problem.code].status


def title_of(code: str) -> str:
    """What the code means, in one sentence; the same at every occurrence."""
    return " ".join((CLASSES[code].__doc__ or code).split())


def markdown() -> str:
    """docs/errors.md. Written by `python -m api.errors > docs/errors.md`."""
    rows = [f"| `{code}` | {row.status} | {title_of(code)} | {row.advice} |" for code, row in TABLE.items()]
    return "\n".join([*_HEAD, *rows, ""])


_HEAD = [
    "# Problem codes",
    "",
    "Every error is an `application/problem+json` document (RFC 9457) with `type`, `title`, `status`,",
    "`detail`, `code` and `errors`. `code` is stable; `type` is `/v1/docs/errors#` and the code. `errors`",
    "names each bad field by its path (`lines.0.number`). Some codes bring more: `available`, `lines`,",
    "`retry_after` (seconds, also as a header).",
    "",
    "| code | status | meaning | what to do |",
    "|---|---|---|---|",
]


if __name__ == "__main__":
    print(markdown(), end="")
