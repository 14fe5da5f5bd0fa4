"""Access tokens: HS256 and nothing else, for this audience and issuer, fifteen minutes long by default."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, NamedTuple

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from rules.errors import BadToken, TokenExpired
from rules.rights import Role
from runtime.clock import Clock
from runtime.settings import Settings

ALGORITHM = "HS256"
AUDIENCE = "drawbreak"
ISSUER = "drawbreak"
REQUIRED = ["exp", "iat", "sub", "aud", "iss"]
# About 1 KB each; more agents than this at once only cost a second verification.
CACHED_MAX = 20_000
# Longer ones are nobody's: ours have about 400 characters.
TOKEN_CHARACTERS_MAX = 4_096


class Actor(NamedTuple):
    """Who is asking."""

    id: int
    username: str
    role: Role


class Tokens:
    """Makes and verifies tokens. Safe to use from several threads."""

    def __init__(self, app: Flask, settings: Settings, clock: Clock) -> None:
        app.config.update(
            JWT_SECRET_KEY=settings.jwt_key,
            JWT_ALGORITHM=ALGORITHM,
            JWT_DECODE_ALGORITHMS=[ALGORITHM],
            JWT_ENCODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_AUDIENCE=AUDIENCE,
            JWT_ENCODE_ISSUER=ISSUER,
            JWT_DECODE_ISSUER=ISSUER,
            JWT_TOKEN_LOCATION=["headers"],
        )
        JWTManager(app)
        self._key = settings.jwt_key
        self._clock = clock
        self._verified: dict[str, tuple[float, Actor]] = {}
        self._lock = threading.Lock()
        self.lifetime = timedelta(minutes=settings.access_token_minutes)

    def issue(self, actor: Actor) -> str:
        """A new access token."""
        claims = {"username": actor.username, "role": actor.role.value}
        token: str = create_access_token(str(actor.id), additional_claims=claims, expires_delta=self.lifetime)
        return token

    def actor(self, header: str | None) -> Actor:
        """Who sent this Authorization header. Raises BadToken, TokenExpired."""
        try:
            return _actor(decode_token(_bearer(header)))
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (
            jwt.PyJWTError,
            JWTExtendedException,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ) as error:
            raise BadToken from error

    def cached_actor(self, header: str | None) -> Actor:
        """As `actor`, for the sale: each token is verified once, then remembered until it expires."""
        token = _bearer(header)
        known = self._verified.get(token)
        if known is not None:
            if known[0] <= self._clock.now().timestamp():
                raise TokenExpired
            return known[1]
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": REQUIRED},
            )
            actor, expires = _actor(claims), float(claims["exp"])
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadToken from error
        with self._lock:
            while len(self._verified) >= CACHED_MAX:
                del self._verified[next(iter(self._verified))]  # the oldest, which expires first
            self._verified[token] = (expires, actor)
        return actor


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise BadToken
    return token


def _actor(claims: dict[str, Any]) -> Actor:
    if claims.get("type") != "access" or "exp" not in claims:
        raise BadToken
    return Actor(int(claims["sub"]), str(claims["username"]), Role(claims["role"]))
