"""What each action of rules.rights means, whose things it reaches, and what it asks for beside the role.

docs/roles.md is this table in Markdown, with who makes whom and the rules of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rules.rights import ACTIONS, RANK, Role, may, may_create, may_stand_under

# Marks of a row: a token from a login or step-up of the last five minutes; another person has to do the same.
STEP_UP = "step-up"
TWO_PERSONS = "two persons"

_SUBTREE = "own subtree"
_BELOW = "below oneself"
_ALL_DRAWS = "all draws"
_OWN = "own tickets"


class Row(NamedTuple):
    meaning: str
    reach: str
    needs: tuple[str, ...] = ()
    remark: str = ""


TABLE: dict[str, Row] = {
    "user.create": Row("make a user", "parent in the own subtree", remark="see who makes whom"),
    "user.read": Row("read users, one and the list", _SUBTREE),
    "user.change": Row(
        "change, suspend, reactivate, move an agent, give a one-time password",
        _BELOW,
        remark="only whom one may make; of oneself only name, phone, address; a credit limit only by admins",
    ),
    "session.read": Row("list logins", _SUBTREE),
    "session.end": Row("end a login", _SUBTREE, remark="an operator his own only"),
    "credit.load": Row(
        "add to a wallet",
        _BELOW,
        remark="only whom one may make, never one's own (404); a coordinator's comes out of his own wallet, "
        "a `correction` only by admins",
    ),
    "credit.debit": Row("take from a wallet", _BELOW, remark="as for adding"),
    "ledger.read": Row("entries and day's figures of a wallet", _SUBTREE),
    "game.read": Row("prices, limits, schedule of a game", "all games"),
    "game.change": Row(
        "change them for draws not yet open", "all games", (TWO_PERSONS, STEP_UP), "the first is a superadmin"
    ),
    "draw.limits": Row("limits of a draw that sells or will sell", _ALL_DRAWS, (STEP_UP,)),
    "draw.create": Row("make a draw beside the schedule", _ALL_DRAWS),
    "draw.move_cutoff": Row("move a cutoff that has not come", _ALL_DRAWS),
    "draw.close": Row("stop selling for good", _ALL_DRAWS),
    "draw.void": Row("void a draw, every stake goes back", _ALL_DRAWS, (TWO_PERSONS, STEP_UP)),
    "draw.seal_late": Row("seal a draw after `draws_at`", _ALL_DRAWS, (TWO_PERSONS, STEP_UP)),
    "result.enter": Row("enter a result", _ALL_DRAWS, (TWO_PERSONS, STEP_UP)),
    "correction": Row("correct a result", _ALL_DRAWS, (TWO_PERSONS, STEP_UP)),
    "paid_in_error.read": Row("tickets paid more than a corrected result gives", _ALL_DRAWS, (STEP_UP,)),
    "settlement.read": Row("how far a settlement is", _ALL_DRAWS),
    "settlement.resume": Row("resume a settlement that is stuck", _ALL_DRAWS),
    "sales.read": Row("live sales and exposure", _SUBTREE),
    "ticket.sell": Row("sell; read one's own ticket by its id", _OWN),
    "ticket.void": Row("void by number", _OWN),
    "ticket.cancel": Row("kill an id", _OWN, remark="another agent's id: 403"),
    "ticket.read": Row(
        "read tickets, one and the list", _SUBTREE, remark="`code` and `qr` only for the agent who sold it"
    ),
    "ticket.reprint": Row("print again", _OWN),
    "ticket.hold": Row("hold a disputed ticket, release it", "sold in the own subtree"),
    "claim.make": Row(
        "pay a prize against number and code",
        "agents, coordinators: sold below the same admin; above: own subtree",
        (),
        f"a high prize: {TWO_PERSONS}",
    ),
    "claim.read": Row(
        "list claims", "made in the own subtree", remark="one claim: whoever made it, and whoever is above him"
    ),
    "claim.decide": Row(
        "approve or reject a claim",
        "made in the own subtree",
        (TWO_PERSONS, STEP_UP),
        "never one's own claim; step-up to approve",
    ),
    "seal.details": Row("counts and stake beside a published seal", _ALL_DRAWS),
    "audit.read": Row("the audit log", "an admin: deeds of the own subtree; the others: all"),
    "ticket.print": Row("a ticket as a terminal prints it", _OWN),
    "report.read": Row(
        "ask for reports, read and download those one asked for", _SUBTREE, remark="an agent his own statement only"
    ),
    "notification.read": Row("read what one was told, mark it as read", "told to oneself"),
    "notification.make": Row("tell others", "below oneself; a superadmin: all"),
    "dead_letters.read": Row("dead letters: records that could not be stored, tasks that failed", "all"),
    "dead_letters.change": Row(
        "replay a dead letter, discard a task's, annul a ticket's", "all", (TWO_PERSONS, STEP_UP), "both only to annul"
    ),
}

assert TABLE.keys() == ACTIONS.keys()


def markdown() -> str:
    """docs/roles.md. Written by `python -m api.roles > docs/roles.md`."""
    roles = sorted(Role, key=lambda role: -RANK[role])
    parts = [
        _HEAD,
        _grid("action", ACTIONS, roles, lambda action, role: may(role, action), _told),
        _TREE,
        _grid("makes and changes", roles, roles, may_create),
        _UNDER,
        _grid("stands under", roles, roles, may_stand_under),
        _REST,
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _grid(
    corner: str,
    rows: Sequence[Role] | dict[str, frozenset[Role]],
    roles: Sequence[Role],
    holds: Callable[..., bool],
    more: Callable[[str], list[str]] | None = None,
) -> str:
    extra = ["what", "whose", "needs beside the role"] if more else []
    lines = [_line([corner, *roles, *extra]), _line(["---"] * (1 + len(roles) + len(extra)))]
    for row in rows:
        marks = ["✓" if holds(row, role) else "" for role in roles]
        lines.append(_line([f"`{row}`" if more else row, *marks, *(more(row) if more else [])]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _told(action: str) -> list[str]:
    row = TABLE[action]
    return [row.meaning, row.reach, "; ".join(filter(None, [", ".join(row.needs), row.remark]))]


_HEAD = """# Roles and rights

Who may do what (`rules/rights.py`), and to whose things (`actions/subtree.py`). `tests/api/test_role_walk.py` sends
every call as every role about its own things, lower ones, siblings', higher ones and other branches', and expects what
stands here. Without a login: 401. A role without the action: 403 `forbidden`, whatever the call is about. A role with
it, and a thing out of reach: 404, as if there were none.
"""

_TREE = """
## The tree

`superadmin > admin > coordinator > agent` is a tree; a superadmin may stand under a superadmin, a coordinator under a
coordinator (an area). An operator stands below whoever made him and above nobody.

- **Reach.** Everybody reaches himself and everyone below him, however deep. A superadmin reaches everyone, other
  superadmins and those above him too. An operator reads everyone and changes nothing but his own: his logins, his
  password, his one-time codes. What lies outside is 404.
- **One exception**: a prize is paid at any counter (agent or coordinator) below the same admin as the selling agent;
  where no admin stands above, the top of the tree takes his place.
- **Changing somebody** takes reach and the right to make such a user: only superadmins touch admins
  and superadmins. Within reach but not changeable: 403. Nobody suspends or moves himself, or
  changes his own commission or limit. The last active superadmin cannot be suspended.
- An agent is moved only to somebody in the mover's reach. Tickets that he sold before are paid where he stood and where
  he stands.
- Commissions are the house's money: an agent's and those of all coordinators above him are together at most
  `COMMISSION_BP_MAX` (20%), whoever gives them (422).

Who makes whom, and so may change him where he reaches him (row: who; column: whom):
"""

_UNDER = """
Who may stand right under whom (row: who; column: under whom):
"""

_REST = """
## Everybody with a login

His own: `GET /v1/me`, logging out, step-up, password, one-time codes, sessions, ledger; draws, seals. A claim is read
by whoever made it, those above him, and operators. Seals, `GET /v1/verify/{number}` with a code, and the description of
the API need no login.

## Suspension

- A suspended **coordinator** takes everyone below him along; a suspended admin or superadmin stops alone, or a whole
  branch would stop selling. `status` in answers counts what comes from above.
- While suspended: a login is answered 401 `bad_credentials`; a refresh and every call 401 `token_revoked`; a sale 403
  `agent_suspended`, from the gate, at once. What a role may never do stays 403 `forbidden`.
- Whoever suspended somebody, nobody below that person lifts it (403).
- His logins do not end: after the reactivation the same tokens work again. His tickets stay good, and customers are
  paid on them at other counters.

## Two persons and step-up

- **Two persons**: what one asked for, another confirms (403 `same_person`); both need the right. Results and
  corrections are entered twice, alike, or both entries are dropped (409 `numbers_differ`); so are the settings of a
  game (409 `contents_differ`).
- **Step-up**: the token must come from a login or from `POST /v1/auth/step-up` of the last five minutes, else 403
  `step_up_required`. A refreshed token is never fresh. Setting up one-time codes needs it, too.
- With `TOTP_REQUIRED=1` superadmins and admins do nothing before they have set up one-time codes (403 `totp_required`);
  whoever has a one-time password does nothing before he has chosen another one (403 `password_change_required`).
"""


if __name__ == "__main__":
    print(markdown(), end="")
