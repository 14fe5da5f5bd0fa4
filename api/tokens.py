"""Access and refresh tokens: HS256 and nothing else, for this audience and issuer, signed by a key of the ring.

Both are made from what the database knows of their session, and from nothing else: whoever asks twice for the same
number of a session gets the very same pair.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from actions.access_tokens import ALGORITHM, AUDIENCE, ISSUER, TOKEN_CHARACTERS_MAX, claims_of
from rules.errors import BadToken, TokenExpired
from rules.rights import Role
from runtime.clock import Clock
from runtime.key_ring import KeyRing
from runtime.settings import Settings

# A login and a step-up prove who is there; for so long the proof is good for what matters most.
FRESH_S = 5 * 60
# About 1 KB each; more agents than this at once only cost a second verification.
CACHED_MAX = 20_000

T = TypeVar("T")

_UNREADABLE = (jwt.PyJWTError, JWTExtendedException, ValueError, TypeError, KeyError, RecursionError)


class Actor(NamedTuple):
    """Who is asking. `session`: the uuid of his login; `fresh`: he proved who he is a moment ago."""

    id: int
    username: str
    role: Role
    session: str = ""
    fresh: bool = False
    restricted: bool = False  # when the token was made, his password was somebody else's choice


class Refresher(NamedTuple):
    """What a refresh token says: the user, the session and the token's number in it."""

    user_id: int
    session: str
    number: int


class Made(NamedTuple):
    """When and for how long tokens are made: the session's end bounds them all. `number`: of the refresh token."""

    number: int
    at: datetime
    expires_at: datetime
    kid: str


class Tokens:
    """Makes and verifies tokens. Safe to use from several threads."""

    def __init__(self, app: Flask, settings: Settings, clock: Clock) -> None:
        self.ring = KeyRing(settings.jwt_keys, settings.jwt_key_file)
        app.config.update(
            JWT_SECRET_KEY=self.ring.signing().key,  # never used: the key is found by its id
            JWT_ALGORITHM=ALGORITHM,
            JWT_DECODE_ALGORITHMS=[ALGORITHM],
            JWT_DECODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_ISSUER=ISSUER,
            JWT_TOKEN_LOCATION=["headers"],
        )
        manager = JWTManager(app)
        manager.decode_key_loader(lambda header, _: self._key_of(header))
        self._clock = clock
        self._verified: dict[str, tuple[float, Actor]] = {}
        self._ring_version = self.ring.version
        self._lock = threading.Lock()
        self.lifetime = timedelta(minutes=settings.access_token_minutes)

    def pair(self, actor: Actor, made: Made) -> dict[str, Any]:
        """{access_token, refresh_token, token_type, expires_in}: the same again for the same arguments.

        Raises BadToken (the key that signed them is gone).
        """
        refresh = {
            "type": "refresh",
            "sid": actor.session,
            "number": made.number,
            "jti": f"r.{actor.session}.{made.number}",
        }
        expires_at = int(made.expires_at.timestamp())
        return {
            **self.access(actor, made, jti=f"a.{actor.session}.{made.number}"),
            "refresh_token": self._signed(actor.id, made, expires_at, refresh),
        }

    def access(self, actor: Actor, made: Made, jti: str) -> dict[str, Any]:
        """{access_token, token_type, expires_in}. Raises BadToken (the key that signed it is gone)."""
        issued_at = int(made.at.timestamp())
        expires_at = int(min(made.at + self.lifetime, made.expires_at).timestamp())
        claims = {
            "type": "access",
            "username": actor.username,
            "role": actor.role.value,
            "sid": actor.session,
            "fresh": issued_at + FRESH_S if actor.fresh else False,
            "restricted": actor.restricted,
            "jti": jti,
        }
        return {
            "access_token": self._signed(actor.id, made, expires_at, claims),
            "token_type": "Bearer",
            "expires_in": expires_at - issued_at,
        }

    def _signed(self, user_id: int, made: Made, expires_at: int, claims: dict[str, Any]) -> str:
        key = self.ring.key(made.kid)
        if key is None:
            raise BadToken
        issued_at = int(made.at.timestamp())
        body = {"sub": str(user_id), "iss": ISSUER, "aud": AUDIENCE, "iat": issued_at, "exp": expires_at}
        return jwt.encode(body | claims, key, ALGORITHM, headers={"kid": made.kid})

    def actor(self, header: str | None) -> Actor:
        """Who sent this Authorization header. Raises BadToken, TokenExpired."""
        return self._read(header, self._actor)

    def refresher(self, header: str | None) -> Refresher:
        """What the refresh token in this Authorization header says. Raises BadToken, TokenExpired."""
        return self._read(header, _refresher)

    def _read(self, header: str | None, understood: Callable[[dict[str, Any]], T]) -> T:
        token = _bearer(header)
        try:
            return understood(self._claims(token))
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except _UNREADABLE as error:
            raise BadToken from error

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = decode_token(token)
        except jwt.ImmatureSignatureError:
            claims = claims_of(self.ring, token)
        return claims

    def cached_actor(self, header: str | None) -> Actor:
        """As `actor`, for the sale: each token is verified once, then remembered until it expires; never fresh."""
        token = _bearer(header)
        self._forget_old_keys()
        known = self._verified.get(token)
        if known is None:
            known = self._verified_anew(token)
        if known[0] <= self._clock.now().timestamp():
            raise TokenExpired
        return known[1]

    def _verified_anew(self, token: str) -> tuple[float, Actor]:
        version = self._ring_version
        try:
            claims = claims_of(self.ring, token)
            actor, expires = self._actor(claims)._replace(fresh=False), float(claims["exp"])
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except _UNREADABLE as error:
            raise BadToken from error
        with self._lock:
            while len(self._verified) >= CACHED_MAX:
                del self._verified[next(iter(self._verified))]  # the oldest, which expires first
            if version == self._ring_version:
                self._verified[token] = (expires, actor)
        return expires, actor

    def _forget_old_keys(self) -> None:
        """What was verified by a key that is no longer in the ring must not outlive it."""
        self.ring.look_now_and_then()
        if self.ring.version != self._ring_version:
            with self._lock:
                self._verified.clear()
                self._ring_version = self.ring.version

    def _key_of(self, header: dict[str, Any]) -> bytes:
        key = self.ring.key(header.get("kid"))
        if key is None:
            raise BadToken
        return key

    def _actor(self, claims: dict[str, Any]) -> Actor:
        if claims.get("type") != "access" or "exp" not in claims:
            raise BadToken
        fresh_until = claims.get("fresh") or 0
        return Actor(
            id=int(claims["sub"]),
            username=str(claims["username"]),
            role=Role(claims["role"]),
            session=str(claims["sid"]),
            fresh=float(fresh_until) > self._clock.now().timestamp(),
            restricted=bool(claims.get("restricted")),
        )


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise BadToken
    return token


def _refresher(claims: dict[str, Any]) -> Refresher:
    if claims.get("type") != "refresh" or "exp" not in claims:
        raise BadToken
    return Refresher(int(claims["sub"]), str(claims["sid"]), int(claims["number"]))
