"""Logging in and out, sessions, passwords, one-time codes."""

from __future__ import annotations

from api.operation import Blueprint

blueprint = Blueprint(
    "auth", __name__, url_prefix="/v1", description="Logging in and out, sessions, passwords, one-time codes"
)
