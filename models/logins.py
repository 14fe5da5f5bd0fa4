"""Logins: sessions, each with its family of refresh tokens."""

from __future__ import annotations

import uuid

from sqlalchemy import ForeignKey, Integer, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Big, Instant, Str


class Login(Base):
    """One login on one device. `number` is that of its newest refresh token, made at `rotated_at`."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    device: Mapped[Str] = mapped_column(server_default="")
    address: Mapped[Str]
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_used_at: Mapped[Instant] = mapped_column(server_default=func.now())
    expires_at: Mapped[Instant]
    number: Mapped[int] = mapped_column(Integer, server_default="1")
    rotated_at: Mapped[Instant] = mapped_column(server_default=func.now())
    kid: Mapped[Str]
    ended_at: Mapped[Instant | None]
    ended_why: Mapped[str | None] = mapped_column(Text)
    told_at: Mapped[Instant | None]
