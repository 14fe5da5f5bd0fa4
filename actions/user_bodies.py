"""Users as their callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.people import User, Wallet, suspended_among


def bodies(session: Session, users: Sequence[User]) -> list[dict[str, Any]]:
    """Each with his wallet; `status` counts a suspension from above."""
    ids = [user.id for user in users]
    wallets = {wallet.user_id: wallet for wallet in session.scalars(select(Wallet).where(Wallet.user_id.in_(ids)))}
    suspended = suspended_among(session, ids)
    return [_body(user, wallets[user.id], user.id in suspended) for user in users]


def _body(user: User, wallet: Wallet, suspended: bool) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "parent_id": user.parent_id,
        "status": "suspended" if suspended else "active",
        "full_name": user.full_name,
        "phone": user.phone,
        "address": user.address,
        "commission_bp": user.commission_bp,
        "ticket_template": user.ticket_template,
        "ticket_paper": user.ticket_paper,
        "created_at": user.created_at.isoformat(),
        "wallet": {
            "balance": wallet.balance,
            "credit_limit": wallet.credit_limit,
            "available": wallet.balance + wallet.credit_limit,
        },
    }
